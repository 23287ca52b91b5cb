"""Byte-level BPE of 512 entries in which every digit stands alone; `<unk>` 0, `<s>` 1, `</s>` 2, BOS added."""

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from problems import problem

VOCABULARY = 512
UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"
PIECES = r" ?[A-Za-z]+|[0-9]| ?[^ \t\r\nA-Za-z0-9]+|[ \t\r\n]+"


def text_of(item):
    """Prompt and solution as the model reads them: the question, a newline, the worked steps."""
    return f"{item['question']}\n{item['answer']}"


def train_tokenizer(seed, count=20000):
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PIECES), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[UNKNOWN, BEGIN, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text_of(problem("train", seed, i)) for i in range(count)), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BEGIN} $A", special_tokens=[(BEGIN, 1)])
    return tokenizer
