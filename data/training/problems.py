"""Arithmetic word problems in GSM8K's form: a question, worked steps with the equation written out, `#### answer`.

A template draws its numbers, writes the question and reports each step as it computes it, so that question, steps and
answer cannot disagree. Connectives between steps are random on purpose: a few per cent of the tokens are near coin
flips, which is where two ways of computing the same thing can part. Train and test are disjoint by construction: the
split of a problem is a hash of its template and all its numbers.
"""

import hashlib
import math
import random

WOMEN = "Mary Anna Lily Emma Sara Julia Nina Rosa Kate Ruth Ella Zoe Amy Joy Wendy Betty Tina Maya Eva Grace".split()
MEN = "Tom John Sam Ben Max Leo Paul Mark Jack Adam Luke Noah Eric Carl Dan Hugo Ivan Omar Ken Ray".split()
ITEMS = "apples pens books stamps coins cards marbles shells stickers balloons cookies pears beads buttons toys eggs".split()
DAYS = "Monday Tuesday Friday Sunday Saturday".split()
THINGS = "bike phone guitar tent desk camera watch".split()
MULTIPLES = {2: "twice", 3: "three times", 4: "four times", 5: "five times"}
FRACTIONS = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth"}
CONNECTIVES = ("So ", "Then ", "Now ", "")
LARGEST = 999
TEST_SHARE = 16  # one problem in 16 belongs to the test split


class Rejected(Exception):
    """The numbers drawn do not make a problem (a negative, fractional or too large intermediate result)."""


class Draft:
    """One problem being written: its random numbers, names and steps."""

    def __init__(self, rng):
        self.rng = rng
        self.numbers = []
        self.steps = []
        people = rng.sample([(n, "she", "her") for n in WOMEN] + [(n, "he", "his") for n in MEN], 3)
        self.name, self.he, self.his = people[0]
        self.friend = people[1][0]
        self.third = people[2][0]
        self.He = self.he.capitalize()
        self.item, self.other_item = rng.sample(ITEMS, 2)
        self.day, self.other_day = rng.sample(DAYS, 2)

    def number(self, low, high):
        value = self.rng.randint(low, high)
        self.numbers.append(value)
        return value

    def wide(self, low, high):
        """Log-uniform, so that small and large numbers are both frequent."""
        value = int(math.exp(self.rng.uniform(math.log(low), math.log(high + 1))))
        value = max(low, min(high, value))
        self.numbers.append(value)
        return value

    def pick(self, *options):
        return self.rng.choice(options)

    def step(self, a, operator, b, sentence):
        """Compute `a operator b` and add the sentence, `{}` standing for the equation."""
        if operator == "/":
            if b == 0 or a % b:
                raise Rejected
            value = a // b
        else:
            value = {"+": a + b, "-": a - b, "*": a * b}[operator]
        if not 1 <= value <= LARGEST:
            raise Rejected
        if self.steps:
            connective = self.rng.choice(CONNECTIVES)
            sentence = connective + sentence if connective else sentence[0].upper() + sentence[1:]
        else:
            sentence = sentence[0].upper() + sentence[1:]
        self.steps.append(sentence.format(f"{a}{operator}{b}={value}"))
        return value


def buy_and_give(p):
    a, b, c = p.wide(5, 500), p.wide(5, 400), p.wide(3, 300)
    question = p.pick(
        f"{p.name} has {a} {p.item}. {p.He} buys {b} more and gives {c} to {p.friend}.",
        f"{p.name} had {a} {p.item}, got {b} more and then gave {p.friend} {c} of them.",
    ) + p.pick(f" How many {p.item} does {p.name} have now?", f" How many {p.item} are left?")
    total = p.step(a, "+", b, f"{p.name} has {{}} {p.item}.")
    return question, p.step(total, "-", c, f"{p.he} has {{}} {p.item} left.")


def sold_times(p):
    a, k = p.wide(6, 250), p.number(2, 5)
    question = (
        f"{p.name} sold {a} {p.item} on {p.day} and {MULTIPLES[k]} as many on {p.other_day}."
        f" How many {p.item} did {p.he} sell {p.pick('altogether', 'in total')}?"
    )
    second = p.step(a, "*", k, f"{p.name} sold {{}} {p.item} on {p.other_day}.")
    return question, p.step(a, "+", second, f"{p.he} sold {{}} {p.item} in total.")


def sold_fraction(p):
    k = p.number(2, 5)
    a = k * p.wide(4, 150)
    c = p.wide(3, 200)
    question = (
        f"{p.name} sold {a} {p.item} in May, {FRACTIONS[k]} as many in June and {c} in July."
        f" How many {p.item} did {p.he} sell {p.pick('altogether', 'in total')}?"
    )
    second = p.step(a, "/", k, f"{p.name} sold {{}} {p.item} in June.")
    both = p.step(a, "+", second, f"{p.he} sold {{}} {p.item} in two months.")
    return question, p.step(both, "+", c, f"{p.he} sold {{}} {p.item} in total.")


def earnings(p):
    wage, hours, days = p.number(6, 45), p.number(2, 9), p.number(2, 9)
    question = p.pick(
        f"{p.name} earns ${wage} an hour and works {hours} hours a day.",
        f"{p.name} works {hours} hours a day and earns ${wage} an hour.",
    ) + f" How much does {p.he} earn in {days} days?"
    daily = p.step(wage, "*", hours, f"{p.name} earns ${{}} a day.")
    return question, p.step(daily, "*", days, f"{p.he} earns ${{}} in {days} days.")


def earn_and_spend(p):
    wage, hours, spent, gift = p.number(6, 60), p.number(2, 15), p.wide(5, 300), p.wide(5, 200)
    question = (
        f"{p.name} earns ${wage} an hour. {p.He} worked {hours} hours, "
        + p.pick(f"got ${gift} from {p.friend} and spent ${spent}.", f"spent ${spent} and got ${gift} from {p.friend}.")
        + f" How much money does {p.he} have?"
    )
    earned = p.step(wage, "*", hours, f"{p.name} earned ${{}}.")
    if p.rng.random() < 0.5:
        middle = p.step(earned, "+", gift, f"{p.he} had ${{}} with the money from {p.friend}.")
        return question, p.step(middle, "-", spent, f"{p.he} has ${{}} left.")
    middle = p.step(earned, "-", spent, f"{p.he} had ${{}} after spending.")
    return question, p.step(middle, "+", gift, f"{p.he} has ${{}} left.")


def boxes(p):
    b, n, m, lost = p.number(3, 15), p.number(4, 60), p.number(2, 9), p.number(1, 30)
    question = (
        f"There are {b} boxes with {n} {p.item} each. {lost} {p.item} are {p.pick('broken', 'lost')} and the rest are"
        f" shared equally by {m} children. How many {p.item} does each child get?"
    )
    total = p.step(b, "*", n, f"there are {{}} {p.item}.")
    left = p.step(total, "-", lost, f"there are {{}} {p.item} left.")
    return question, p.step(left, "/", m, f"each child gets {{}} {p.item}.")


def book(p):
    pages, a, k = p.wide(80, 700), p.wide(8, 120), p.number(2, 4)
    question = (
        f"{p.name} is reading a {pages}-page book. {p.He} read {a} pages on {p.day} and {MULTIPLES[k]} as many on"
        f" {p.other_day}. How many pages are left{p.pick('', ' to read')}?"
    )
    second = p.step(a, "*", k, f"{p.name} read {{}} pages on {p.other_day}.")
    both = p.step(a, "+", second, f"{p.he} read {{}} pages in total.")
    return question, p.step(pages, "-", both, "there are {} pages left.")


def pizza(p):
    a, x, b, y, eaten = p.number(2, 12), p.number(6, 16), p.number(2, 12), p.number(4, 12), p.number(3, 60)
    question = (
        f"{p.name} buys {a} large pizzas with {x} slices each and {b} small pizzas with {y} slices each."
        f" {p.his.capitalize()} friends eat {eaten} slices. How many slices are left?"
    )
    large = p.step(a, "*", x, "the large pizzas have {} slices.")
    small = p.step(b, "*", y, "the small pizzas have {} slices.")
    total = p.step(large, "+", small, "there are {} slices in total.")
    return question, p.step(total, "-", eaten, "there are {} slices left.")


def clothes(p):
    x, a, y, b = p.number(2, 9), p.number(3, 40), p.number(2, 9), p.number(3, 40)
    question = p.pick(
        f"{p.name} buys {x} shirts for ${a} each and {y} hats for ${b} each.",
        f"Shirts cost ${a} and hats cost ${b}. {p.name} buys {x} shirts and {y} hats.",
    )
    shirts = p.step(x, "*", a, "the shirts cost ${}.")
    hats = p.step(y, "*", b, "the hats cost ${}.")
    total = p.step(shirts, "+", hats, f"{p.he} pays ${{}} in total.")
    if p.rng.random() < 0.5:
        return question + f" How much does {p.he} pay{p.pick('', ' in total')}?", total
    money = 100 * p.number(2, 9)
    return question + f" {p.He} had ${money}. How much money is left?", p.step(money, "-", total, f"{p.he} has ${{}} left.")


def garden(p):
    a, b, k = p.wide(5, 150), p.wide(3, 120), p.number(2, 4)
    question = f"A garden has {a} red flowers, {b} more yellow flowers than red ones and {MULTIPLES[k]} as many white flowers as yellow ones."
    yellow = p.step(a, "+", b, "there are {} yellow flowers.")
    white = p.step(yellow, "*", k, "there are {} white flowers.")
    if p.rng.random() < 0.5:
        return question + " How many white flowers are there?", white
    both = p.step(a, "+", yellow, "there are {} red and yellow flowers.")
    return question + " How many flowers are there in total?", p.step(both, "+", white, "there are {} flowers in total.")


def trip(p):
    v, h, u, g = p.number(12, 75), p.number(2, 8), p.number(12, 75), p.number(2, 8)
    question = (
        f"{p.name} drives {v} miles an hour for {h} hours and then {u} miles an hour for {g} hours."
        f" How many miles does {p.he} drive{p.pick('', ' in total')}?"
    )
    first = p.step(v, "*", h, f"{p.name} first drives {{}} miles.")
    second = p.step(u, "*", g, f"{p.he} drives {{}} miles.")
    return question, p.step(first, "+", second, f"{p.he} drives {{}} miles in total.")


def hens(p):
    laid, eaten, given, price = p.number(12, 90), p.number(2, 12), p.number(2, 20), p.number(2, 9)
    question = (
        f"{p.name} has hens that lay {laid} eggs a day. {p.He} eats {eaten}, gives {given} to {p.friend} and sells the"
        f" rest for ${price} each. How much money does {p.he} make a day?"
    )
    used = p.step(eaten, "+", given, f"{p.name} uses {{}} eggs.")
    sold = p.step(laid, "-", used, f"{p.he} sells {{}} eggs.")
    return question, p.step(sold, "*", price, f"{p.he} makes ${{}} a day.")


def ages(p):
    a, k, c, y = p.number(4, 24), p.number(2, 4), p.number(2, 15), p.number(3, 25)
    question = (
        f"{p.name} is {a} years old. {p.friend} is {MULTIPLES[k]} as old as {p.name}. {p.third} is {c} years younger than"
        f" {p.friend}. How old will {p.third} be in {y} years?"
    )
    second = p.step(a, "*", k, f"{p.friend} is {{}} years old.")
    third = p.step(second, "-", c, f"{p.third} is {{}} years old.")
    return question, p.step(third, "+", y, f"{p.third} will be {{}} years old.")


def savings(p):
    s, w, g, cost = p.number(5, 60), p.number(3, 14), p.wide(5, 150), p.wide(100, 950)
    question = (
        f"{p.name} wants to buy a {p.pick(*THINGS)} that costs ${cost}. {p.He} saves ${s} a week for {w} weeks and gets"
        f" ${g} from {p.friend}. How much more money does {p.he} need?"
    )
    saved = p.step(s, "*", w, f"{p.name} saves ${{}}.")
    have = p.step(saved, "+", g, f"{p.he} has ${{}}.")
    return question, p.step(cost, "-", have, f"{p.he} needs ${{}} more.")


def chairs(p):
    r, c, u = p.number(4, 24), p.number(5, 40), p.wide(4, 250)
    question = p.pick(f"A hall has {r} rows of {c} chairs.", f"There are {r} rows with {c} chairs each in a hall.")
    question += f" {u} people sit down."
    total = p.step(r, "*", c, "there are {} chairs.")
    empty = p.step(total, "-", u, "there are {} empty chairs.")
    if p.rng.random() < 0.4:
        v = p.number(2, 60)
        question += f" Then {v} more people sit down."
        empty = p.step(empty, "-", v, "there are {} empty chairs left.")
    return question + " How many chairs are empty?", empty


def legs(p):
    cows, birds, more = p.number(3, 70), p.number(3, 90), p.number(2, 40)
    question = (
        f"A farm has {cows} cows and {birds} hens. {more} more hens {p.pick('come', 'are bought')}."
        f" How many legs do the animals have{p.pick('', ' in total')}?"
    )
    total = p.step(birds, "+", more, "there are {} hens.")
    four = p.step(cows, "*", 4, "the cows have {} legs.")
    two = p.step(total, "*", 2, "the hens have {} legs.")
    return question, p.step(four, "+", two, "there are {} legs in total.")


def training(p):
    a, b, d = p.number(5, 60), p.number(5, 60), p.number(3, 9)
    question = f"{p.name} runs {a} minutes and walks {b} minutes a day. How many minutes does {p.he} {p.pick('train', 'exercise')} in {d} days?"
    if p.rng.random() < 0.5:
        daily = p.step(a, "+", b, f"{p.name} trains {{}} minutes a day.")
        return question, p.step(daily, "*", d, f"{p.he} trains {{}} minutes in {d} days.")
    run = p.step(a, "*", d, f"{p.name} runs {{}} minutes.")
    walk = p.step(b, "*", d, f"{p.he} walks {{}} minutes.")
    return question, p.step(run, "+", walk, f"{p.he} trains {{}} minutes in {d} days.")


def percentage(p):
    k = p.pick(2, 4, 5, 10)
    a = k * p.wide(4, 180)
    b = p.wide(3, 200)
    if a > LARGEST:
        raise Rejected
    p.numbers.append(k)
    question = (
        f"{p.name} had {a} {p.item}. {p.He} sold {100 // k}% of them and then bought {b} more."
        f" How many {p.item} does {p.he} have now?"
    )
    sold = p.step(a, "/", k, f"{p.name} sold {{}} {p.item}.")
    left = p.step(a, "-", sold, f"{p.he} had {{}} {p.item} left.")
    return question, p.step(left, "+", b, f"{p.he} has {{}} {p.item} now.")


def packs(p):
    k, n, a, c = p.number(3, 20), p.number(5, 30), p.wide(5, 300), p.wide(2, 200)
    question = (
        f"{p.name} has {a} {p.item} and buys {k} packs of {n} {p.item}. {p.He} {p.pick('loses', 'sells')} {c} of them."
        f" How many {p.item} does {p.he} have?"
    )
    bought = p.step(k, "*", n, f"{p.name} buys {{}} {p.item}.")
    have = p.step(a, "+", bought, f"{p.he} has {{}} {p.item}.")
    return question, p.step(have, "-", c, f"{p.he} has {{}} {p.item} left.")


def bus(p):
    a, b, c, d = p.number(15, 90), p.number(2, 50), p.number(2, 60), p.number(2, 50)
    question = f"A bus has {a} people. At the first stop {b} get off and {c} get on. At the next stop {d} get "
    left = p.step(a, "-", b, "after the first stop there are {} people left.")
    more = p.step(left, "+", c, "there are {} people on the bus.")
    if p.rng.random() < 0.5:
        return question + "off. How many people are on the bus now?", p.step(more, "-", d, "there are {} people left.")
    return question + "on. How many people are on the bus now?", p.step(more, "+", d, "there are {} people now.")


def bakery(p):
    t, c, s, k = p.number(3, 16), p.number(6, 40), p.number(5, 120), p.number(3, 9)
    question = f"{p.name} bakes {t} trays of {c} cookies and sells {s}. The rest are put in bags of {k}. How many bags are there?"
    baked = p.step(t, "*", c, f"{p.name} bakes {{}} cookies.")
    left = p.step(baked, "-", s, "there are {} cookies left.")
    return question, p.step(left, "/", k, "there are {} bags.")


def tank(p):
    a, m, loss, start = p.number(3, 45), p.number(4, 20), p.number(1, 9), p.wide(5, 300)
    question = (
        f"A tank has {start} liters of water. It is filled with {a} liters a minute and loses {loss} liters a minute."
        f" How many liters are in the tank after {m} minutes?"
    )
    rate = p.step(a, "-", loss, "the tank gets {} liters a minute.")
    gained = p.step(rate, "*", m, "the tank gets {} liters.")
    return question, p.step(start, "+", gained, "the tank has {} liters.")


def letters(p):
    a, b, c, w = p.number(2, 9), p.number(2, 9), p.number(2, 5), p.number(2, 12)
    question = f"{p.name} writes a {a}-page letter to {b} friends {c} times a week. How many pages does {p.he} write in {w} weeks?"
    once = p.step(a, "*", b, f"{p.name} writes {{}} pages each time.")
    weekly = p.step(once, "*", c, f"{p.he} writes {{}} pages a week.")
    return question, p.step(weekly, "*", w, f"{p.he} writes {{}} pages in {w} weeks.")


def rope(p):
    length, a, b = p.wide(60, 900), p.number(2, 9), p.number(5, 70)
    question = f"{p.name} has a rope of {length} meters and cuts off {a} pieces of {b} meters. "
    pieces = p.step(a, "*", b, "the pieces have {} meters.")
    left = p.step(length, "-", pieces, "there are {} meters left.")
    if left % 2 == 0:
        half = p.step(left, "/", 2, f"{p.friend} gets {{}} meters.")
        return question + f"Half of the rest goes to {p.friend}. How many meters does {p.friend} get?", half
    return question + "How many meters are left?", left


def tickets(p):
    a, x, b, y = p.number(2, 30), p.number(4, 30), p.number(2, 30), p.number(2, 15)
    question = f"Tickets cost ${x} for adults and ${y} for children. How much do {a} adults and {b} children pay{p.pick('', ' in total')}?"
    adults = p.step(a, "*", x, "the adults pay ${}.")
    children = p.step(b, "*", y, "the children pay ${}.")
    return question, p.step(adults, "+", children, "they pay ${} in total.")


def how_many_more(p):
    a, x, b, y = p.number(3, 20), p.number(4, 40), p.number(2, 20), p.number(4, 40)
    question = (
        f"{p.name} has {a} boxes of {x} {p.item} and {p.friend} has {b} boxes of {y} {p.item}."
        f" How many more {p.item} does {p.name} have than {p.friend}?"
    )
    first = p.step(a, "*", x, f"{p.name} has {{}} {p.item}.")
    second = p.step(b, "*", y, f"{p.friend} has {{}} {p.item}.")
    return question, p.step(first, "-", second, f"{p.name} has {{}} more {p.item}.")


def average(p):
    a, b, c = p.number(5, 200), p.number(5, 200), p.number(5, 200)
    question = p.pick(
        f"{p.name} read {a} pages on {p.day}, {b} on {p.other_day} and {c} on Thursday. How many pages is that on average?",
        f"The scores of {p.name}, {p.friend} and {p.third} are {a}, {b} and {c}. What is the average?",
    )
    two = p.step(a, "+", b, "the first two give {}.")
    three = p.step(two, "+", c, "the total is {}.")
    return question, p.step(three, "/", 3, "the average is {}.")


def three_people(p):
    a, b, c = p.wide(5, 150), p.wide(3, 90), p.wide(2, 80)
    less = p.rng.random() < 0.5
    question = (
        f"{p.name} has {a} {p.item}. {p.friend} has {b} more than {p.name}. {p.third} has {c} {'less' if less else 'more'}"
        f" than {p.friend}. How many {p.item} do {p.pick('they have in total', 'all three have')}?"
    )
    second = p.step(a, "+", b, f"{p.friend} has {{}} {p.item}.")
    third = p.step(second, "-" if less else "+", c, f"{p.third} has {{}} {p.item}.")
    both = p.step(a, "+", second, f"{p.name} and {p.friend} have {{}} {p.item}.")
    return question, p.step(both, "+", third, f"all three have {{}} {p.item}.")


def teams(p):
    a, b, k, c = p.number(8, 60), p.number(8, 60), p.number(2, 9), p.number(3, 30)
    question = f"A school has {a} boys and {b} girls. They make teams of {k}. Each team gets {c} {p.item}. How many {p.item} are needed?"
    children = p.step(a, "+", b, "there are {} children.")
    count = p.step(children, "/", k, "there are {} teams.")
    return question, p.step(count, "*", c, f"they need {{}} {p.item}.")


def photos(p):
    a, d, b, k = p.number(5, 60), p.number(3, 14), p.wide(3, 150), p.number(2, 4)
    question = (
        f"{p.name} takes {a} photos a day for {d} days and deletes {b}. {p.friend} has {MULTIPLES[k]} as many photos as"
        f" {p.name} has left. How many photos does {p.friend} have?"
    )
    taken = p.step(a, "*", d, f"{p.name} takes {{}} photos.")
    left = p.step(taken, "-", b, f"{p.he} has {{}} photos left.")
    return question, p.step(left, "*", k, f"{p.friend} has {{}} photos.")


TEMPLATES = [
    ages, average, bakery, book, boxes, bus, buy_and_give, chairs, clothes, earn_and_spend, earnings, garden, hens,
    how_many_more, legs, letters, packs, percentage, photos, pizza, rope, savings, sold_fraction, sold_times, tank,
    teams, three_people, tickets, training, trip,
]


def distraction(p):
    n = p.number(2, 60)
    return p.pick(
        f"It is {n} degrees today. ",
        f"{p.friend} lives {n} miles away. ",
        f"{p.third} has {n} {p.other_item}. ",
        f"The bus comes in {n} minutes. ",
    )


def is_test(template, numbers):
    """The split of a problem: a hash of its template and the numbers of its question."""
    key = f"{template}|{','.join(map(str, numbers))}"
    return hashlib.sha256(key.encode()).digest()[0] % TEST_SHARE == 0


def problem(split, seed, index):
    """Problem `index` of a stream: {"question", "answer", "kind", "operations"}. The same arguments, the same problem."""
    rng = random.Random(f"{split}/{seed}/{index}")
    while True:
        template = rng.choice(TEMPLATES)
        draft = Draft(rng)
        try:
            question, answer = template(draft)
        except Rejected:
            continue
        if max(draft.numbers) > LARGEST or is_test(template.__name__, draft.numbers) != (split == "test"):
            continue
        if rng.random() < 0.25:
            question = distraction(draft) + question
        text = "\n".join([*draft.steps, f"#### {answer}"])
        return {"question": question, "answer": text, "kind": template.__name__, "operations": len(draft.steps)}
