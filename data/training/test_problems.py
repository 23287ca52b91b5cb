"""Tests of the generated problems: `python -m unittest` in this folder.

The arithmetic is read back from the text of the worked steps and computed anew, so that the generator is not its own
witness. The tokenizer's test needs the package `tokenizers` and is skipped without it.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
import unittest
from fractions import Fraction

from problems import LARGEST, TEMPLATES, is_test, problem

SAMPLE = 4000
EQUATION = re.compile(r"(\d+)([-+*/])(\d+)=(\d+)")
PROMPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "prompts", "mini-arithmetic.jsonl")
OPERATIONS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: Fraction(a, b),
}


def faults(item):
    """What is wrong with a problem, from its text alone; empty if nothing is."""
    *steps, last = item["answer"].split("\n")
    found = []
    results = []
    for line in steps:
        equations = EQUATION.findall(line)
        if len(equations) != 1 or line.count("=") != 1:
            found.append(f"not one equation: {line!r}")
            continue
        left, operator, right, result = equations[0]
        exact = OPERATIONS[operator](int(left), int(right))
        if exact != int(result):
            found.append(f"wrong: {line!r} (is {exact})")
        for operand in (left, right):
            # Fixed facts of a template (legs of a cow, half, an average of three) are in words, so only 2, 3, 4 may be new.
            known = operand in re.findall(r"\d+", item["question"]) or int(operand) in results
            if not known and not (operator in "*/" and int(operand) <= 5) and not is_per_cent(item["question"], int(operand)):
                found.append(f"{operand} in {line!r} comes from nowhere")
        results.append(int(result))
    if last != f"#### {results[-1] if results else ''}":
        found.append(f"{last!r} is not the last result")
    numbers = [int(text) for text in re.findall(r"\d+", item["question"] + " " + item["answer"])]
    if not all(1 <= number <= LARGEST for number in numbers):
        found.append(f"a number is outside 1 … {LARGEST}")
    if item["operations"] != len(steps):
        found.append(f"operations is {item['operations']}, the solution has {len(steps)} steps")
    return found


def equations(item):
    return item["kind"], tuple(EQUATION.findall(item["answer"]))


def is_per_cent(question, divisor):
    return f"{Fraction(100, divisor)}%" in question


def sample(split, seed=20, count=SAMPLE):
    return [problem(split, seed, index) for index in range(count)]


class Problems(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.train, cls.test = sample("train"), sample("test", seed=1)

    def test_every_step_is_arithmetically_right_and_the_answer_is_the_last_result(self):
        for item in self.train + self.test:
            self.assertEqual(faults(item), [], item)

    def test_a_wrong_step_answer_or_number_is_noticed(self):
        item = {
            "question": "Tom has 12 pens and buys 30 more. How many pens does he have?",
            "answer": "Tom has 12+30=42 pens.\n#### 42",
            "operations": 1,
        }
        self.assertEqual(faults(item), [])
        for old, new in [("=42", "=43"), ("#### 42", "#### 41"), ("12+", "13+"), ("12+30=42", "12+30 = 42"), ("+30", "+1030")]:
            self.assertNotEqual(faults({**item, "answer": item["answer"].replace(old, new)}), [], new)
        self.assertNotEqual(faults({**item, "operations": 2}), [])

    def test_train_and_test_share_no_problem(self):
        # Equations name every number that was drawn, so equal ones mean the same problem whoever the people are.
        train = [equations(item) for item in sample("train", seed=20, count=3 * SAMPLE)]
        test = [equations(item) for item in sample("test", seed=1, count=3 * SAMPLE)]
        self.assertEqual(set(train) & set(test), set())
        # Within a split problems do come again, so the empty intersection is no accident of a large space.
        self.assertGreater(len(train) - len(set(train)), 20)
        self.assertGreater(len(test) - len(set(test)), 20)

    def test_a_problem_s_split_is_the_hash_of_its_template_and_numbers(self):
        # From `printf 'ages|4,2,2,3' | sha256sum`: a digest whose second hex digit is 0 belongs to the test split.
        self.assertFalse(is_test("ages", [4, 2, 2, 3]))  # c53112ab…
        self.assertTrue(is_test("trip", [5, 2, 2, 3]))  # 20…
        shares = [is_test("ages", [a, k, c, y]) for a in range(4, 25) for k in range(2, 5) for c in range(2, 16) for y in range(3, 26)]
        self.assertAlmostEqual(sum(shares) / len(shares), 1 / 16, delta=0.005)

    def test_the_same_arguments_give_the_same_problem_in_every_process(self):
        for split, seed, index in [("train", 20, 0), ("train", 20, 999), ("test", 1, 7)]:
            self.assertEqual(problem(split, seed, index), problem(split, seed, index))
        code = "import json, problems; print(json.dumps([problems.problem('train', 20, i) for i in range(50)]))"
        for hash_seed in ("0", "1"):
            environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
            folder = os.path.dirname(os.path.abspath(__file__))
            printed = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, check=True).stdout
            self.assertEqual(json.loads(printed), self.train[:50])

    def test_seed_and_index_change_the_problem(self):
        self.assertNotEqual(problem("train", 20, 0), problem("train", 21, 0))
        self.assertNotEqual(problem("train", 20, 0), problem("train", 20, 1))

    def test_every_template_is_used_in_both_splits(self):
        names = {template.__name__ for template in TEMPLATES}
        self.assertEqual({item["kind"] for item in self.train}, names)
        self.assertEqual({item["kind"] for item in self.test}, names)


@unittest.skipUnless(os.path.exists(PROMPTS), "the held-out problems are not here")
class HeldOutFile(unittest.TestCase):
    def test_the_file_is_what_the_recipe_writes_and_every_problem_is_right(self):
        from make_prompts import held_out

        with open(PROMPTS, encoding="utf-8") as file:
            written = [json.loads(line) for line in file]
        self.assertEqual(written, list(held_out()))
        self.assertEqual(len({item["question"] for item in written}), len(written))
        for item in written:
            self.assertEqual(faults(item), [], item["id"])


@unittest.skipUnless(importlib.util.find_spec("tokenizers"), "the package tokenizers is not installed")
class TokenizerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        from tokenizer import train_tokenizer

        cls.tokenizer = train_tokenizer(seed=20, count=500)

    def test_every_digit_is_a_token_of_its_own(self):
        digits = {self.tokenizer.token_to_id(digit) for digit in "0123456789"}
        self.assertEqual(len(digits), 10)
        for entry in self.tokenizer.get_vocab():
            self.assertTrue(len(entry) == 1 or not any(c.isdigit() for c in entry), entry)
        for number in (7, 42, 365, 999):
            ids = self.tokenizer.encode(str(number), add_special_tokens=False).ids
            self.assertEqual([self.tokenizer.id_to_token(i) for i in ids], list(str(number)))

    def test_decoding_gives_the_text_back_and_encoding_adds_the_begin_token(self):
        for item in sample("test", seed=3, count=200):
            text = f"{item['question']}\n{item['answer']}"
            ids = self.tokenizer.encode(text).ids
            self.assertEqual(ids[0], 1)
            self.assertEqual(self.tokenizer.decode(ids), text)

    def test_it_has_512_entries_with_the_special_ones_first(self):
        self.assertEqual(self.tokenizer.get_vocab_size(), 512)
        self.assertEqual([self.tokenizer.id_to_token(i) for i in range(3)], ["<unk>", "<s>", "</s>"])


if __name__ == "__main__":
    unittest.main()
