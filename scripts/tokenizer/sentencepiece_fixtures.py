"""Trains small models with Debian's SentencePiece and writes what it makes of texts to test/fixtures/sentencepiece.

    apt-get install sentencepiece python3-sentencepiece
    /usr/bin/python3 scripts/tokenizer/sentencepiece_fixtures.py

Models that are there already are kept. Of the random texts only checksums are kept, of the ids in order and
sorted, of the others the ids: all ids would take megabytes.
"""

import gzip
import io
import json
import random
import unicodedata
import zlib
from pathlib import Path

import sentencepiece

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "test/fixtures/sentencepiece"
RANDOM_TEXTS = 10_000

T5_IDS = dict(pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
LLAMA = dict(
    model_type="bpe",
    byte_fallback=True,
    normalization_rule_name="identity",
    remove_extra_whitespaces=False,
    split_digits=True,
)
MODELS = {
    **{
        f"unigram-{rule}": dict(model_type="unigram", normalization_rule_name=rule, **T5_IDS)
        for rule in ["nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf", "identity"]
    },
    "unigram-bytes": dict(
        model_type="unigram", normalization_rule_name="nmt_nfkc", byte_fallback=True, **T5_IDS
    ),
    "unigram-spaces": dict(
        model_type="unigram",
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        split_by_whitespace=False,
        **T5_IDS,
    ),
    "bpe-bytes": LLAMA,
    "bpe-nfkc": dict(model_type="bpe", normalization_rule_name="nfkc", **T5_IDS),
}

SCRIPTS = [
    "Der schnelle braune Fuchs springt über den faulen Hund. Größe, Straße, Ärger",
    "Le cœur déçu mais l'âme plutôt naïve, Louÿs rêva de crapaüter en canoë",
    "Съешь ещё этих мягких французских булок, да выпей чаю",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία",
    "いろはにほへと ちりぬるを カタカナ 日本語の文章 中文字符測試",
    "다람쥐 헌 쳇바퀴에 타고파 한국어",
    "नमस्ते दुनिया यह एक वाक्य है",
    "مرحبا بالعالم هذه جملة",
    "שלום עולם זה משפט",
]
RANGES = [
    (0x20, 0x7E), (0xA0, 0x17F), (0x1C4, 0x1CC), (0x300, 0x36F), (0x391, 0x3C9), (0x410, 0x44F),
    (0x5D0, 0x5EA), (0x621, 0x64A), (0x905, 0x939), (0xE01, 0xE3A), (0x1100, 0x1112), (0x1161, 0x1175),
    (0x11A8, 0x11C2), (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x2070, 0x209C), (0x2100, 0x214F),
    (0x2150, 0x218B), (0x2460, 0x24FF), (0x2581, 0x2581), (0x2E80, 0x2E99), (0x2F00, 0x2FD5),
    (0x3000, 0x303F), (0x3041, 0x3096), (0x3099, 0x309F), (0x30A1, 0x30FF), (0x3131, 0x318E),
    (0x3200, 0x33FF), (0x4E00, 0x4FFF), (0xAC00, 0xAD00), (0xF900, 0xFAFF), (0xFB00, 0xFB06),
    (0xFB1D, 0xFB4F), (0xFDF0, 0xFDFC), (0xFE30, 0xFE6B), (0xFF01, 0xFFDC), (0x1D400, 0x1D7FF),
    (0x1F100, 0x1F16B), (0x1F300, 0x1F64F), (0x1F1E6, 0x1F1FF), (0x2F800, 0x2FA1D), (0xE000, 0xE010),
]


def corpus():
    with gzip.open(ROOT / "demo/data/train.jsonl.gz", "rt", encoding="utf8") as lines:
        texts = [json.loads(line)["source"] for line in lines]
    return texts[:4000] + SCRIPTS * 20


def model_of(name, options, lines):
    path = OUT / f"{name}.model.gz"
    if not path.exists():
        path.write_bytes(gzip.compress(train(options, lines), 9, mtime=0))
    return sentencepiece.SentencePieceProcessor(model_proto=gzip.decompress(path.read_bytes()))


def train(options, lines):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=1200,
        hard_vocab_limit=False,
        character_coverage=0.9995,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return model.getvalue()


def random_text(generator, words):
    def part():
        kind = generator.random()
        if kind < 0.6:
            return " " * generator.choice([0, 1, 1, 1, 1, 2]) + generator.choice(words)
        if kind < 0.7:
            return generator.choice(["  ", " ", "\t", "\n", "\u00a0", "\u3000", "\r\n", " \u200b "])
        first, last = generator.choice(RANGES)
        letters = [chr(generator.randint(first, last)) for _ in range(generator.randint(1, 4))]
        return "".join(letters)

    text = "".join(part() for _ in range(generator.randint(1, 10)))
    return unicodedata.normalize("NFD", text) if generator.random() < 0.1 else text


def nasty_texts():
    yield from ["", " ", "  ", "\n", "\t", "\u00a0", "\u3000", "\u2028", "\u0085", "\u200b", "\ufeff", "\u200d", "\u00ad"]
    yield from ["▁", "▁▁", " ▁", "▁ ", "a▁", "▁a", "a▁b", "a ▁ b", "▁ ▁", "a▁▁", "a ▁▁ "]
    yield from ["a" * n for n in (1, 2, 3, 10, 100, 300, 1000, 5000)]
    yield from ["a " * 500, " a" * 500, "ab" * 1000, "é" * 300, "中" * 300, "\u0301" * 20, "e" + "\u0301" * 20]
    yield from ["👩\u200d👩\u200d👧", "🇩🇪🇫🇷", "👍🏽", "❤️", "❤", "1️⃣", "🏴\U000e0067\U000e0062\U000e007f", "😀" * 50]
    yield from ["ﬁ ﬂ ﬀ ﬃ", "①②③", "㍿ ㌔", "\ufdfa", "\ufdfa" * 10, "½ ¼ ⅓", "x² + y₃", "™ © ® ℃", "Ⅷ", "ǆ Ǆ ǅ"]
    yield from ["ﾊﾟ ﾊﾞ ｶﾞ ｶ", "ハ\u309aハ\u3099", "가각\u1100\u1161\u11a8", "ＡＢＣ　ａｂｃ１２３", "İ ı ſ ß ẞ", "ΑΣ ας Σ"]
    yield from ["A\u030a \u00c5 \u212b", "ô\u0323 o\u0323\u0302", "q\u0323\u0307", "\u0958 \u0915\u093c", "\u05e9\u05c1"]
    yield from ["a\u0000b", "\u0001\u0002", "\u007f\u0080\u009f", "\ue000", "\U0010ffff", "\ufffd", "\ufffe", "\U000e0001"]
    yield from ["\u202eabc\u202c", "\u2066x\u2069", "a\u034fb", "\u180e", "\u2060", "\ufe0f", "\u115f\u1160"]
    yield from ["don't can’t ‘x’ “y”", "http://a.b/c?d=e&f#g", "x86_64-linux-gnu", "a--b---c", "…...", "1,234.56", "$€£¥"]
    yield from ["  a  b  ", "\ta\tb\t", "\na\nb\n", "a\r\nb", "a \n b", " \u00a0 a \u3000 b ", "a\u0085b", "a\u2028b\u2029c"]
    yield from ["0123456789", "1 2 3", "12 345 6789", "a1b2c3", "0x41", "<", "<>", "</", "< /s>", "<a>", "[CLS]", "{}"]
    yield from [chr(point) + "x" for point in range(0xA0, 0x100)]
    yield from [f"a{chr(point)}b" for point in range(0x300, 0x330)]
    yield from [f"{chr(point)}" for point in range(0xFF61, 0xFFA0)]
    yield from [f"{chr(point)}\uff9e" for point in range(0xFF76, 0xFF85)]
    yield from [chr(point) for point in range(0x3300, 0x3340)]


def checksum(data):
    return zlib.crc32(data) & 0xFFFFFFFF


def checksum_of_ids(ids):
    return checksum(" ".join(map(str, ids)).encode())


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    lines = corpus()
    generator = random.Random(20)
    words = sorted({word for line in lines for word in line.split()})
    texts = [random_text(generator, words) for _ in range(RANDOM_TEXTS)]
    nasty = list(nasty_texts())
    while len(nasty) < 500:
        nasty.append("".join(chr(generator.randint(*generator.choice(RANGES))) for _ in range(8)))
    write("texts", {"random": texts, "nasty": nasty})
    for name, options in MODELS.items():
        model = model_of(name, options, lines)
        ids = [model.encode(text) for text in texts]
        write(
            name,
            {
                "randomIds": [checksum_of_ids(row) for row in ids],
                "randomSortedIds": [checksum_of_ids(sorted(row)) for row in ids],
                "randomTexts": [checksum(model.decode(row).encode()) for row in ids],
                "nastyIds": [model.encode(text) for text in nasty],
                "nastyTexts": [model.decode(model.encode(text)) for text in nasty],
            },
        )


def write(name, value):
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    (OUT / f"{name}.json.gz").write_bytes(gzip.compress(data, 9, mtime=0))


if __name__ == "__main__":
    main()
