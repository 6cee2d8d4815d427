from collections import OrderedDict
from typing import NamedTuple

import pytest

from pylon.masking import MASK, is_secret, masked, masked_text, masked_words, secrets_in

WANDB = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"


@pytest.mark.parametrize(
    "key",
    [
        *("token", "hf_token", "HF_TOKEN", "hfToken", "--access-token", "authtoken", "tracker.args.token"),
        *("password", "db_password", "DB_PASSWORD", "PGPASSWORD", "passwd", "passphrase", "ssh_passphrase"),
        *("secret", "client_secret", "clientSecret", "secrets", "aws_secret_access_key", "secret_key"),
        *(
            "api_key",
            "apiKey",
            "APIKey",
            "apikey",
            "access_key",
            "private_key",
            "account_key",
            "WANDB_API_KEY",
            *("trackers.0.token", "secrets.1", "a.tokens.0.password"),
        ),
    ],
)
def test_secret_keys(key: str) -> None:
    assert is_secret(key, "abc")


@pytest.mark.parametrize(
    "key",
    [
        *(
            "keys",
            "monkey",
            "key_points",
            "keypoints",
            "keyword",
            "keyframe",
            "primary_key",
            "sort_key",
            "key",
        ),
        *("image_key", "turkey", "public_key", "keyboard", "hotkey", "donkey", "api_key_file", "key_path"),
        *(
            "tokens",
            "max_tokens",
            "tokenizer",
            "pad_token",
            "cls_token",
            "clstoken",
            "token_dim",
            "mask_token",
        ),
        *("password_file", "token_env", "secret_name", "secretary", "lr", "", "token.x", "bypass", "compass"),
    ],
)
def test_other_keys(key: str) -> None:
    assert not is_secret(key, "abc")


@pytest.mark.parametrize("key", ["key", "wandb_key", "primary_key"])
def test_key_of_any_kind_is_secret_if_its_value_is_no_name(key: str) -> None:
    assert is_secret(key, WANDB)
    assert not is_secret(key, "validation_f1_changed")


@pytest.mark.parametrize("value", [None, True, 0.5, "", [], {}])
def test_what_is_no_text_is_no_secret(value: object) -> None:
    assert not is_secret("password", value)


def test_number_can_be_a_password_and_no_token() -> None:
    assert is_secret("password", 1234)
    assert not is_secret("token", 1234)
    assert not is_secret("token", "1234")


def test_values_are_masked_at_any_depth_and_the_given_ones_stay() -> None:
    config = {
        "tracker": {"class": "m:T", "args": {"token": "hf_X", "url": "https://me:pw@host/x", "tags": ["a"]}},
        "servers": ["alice:pw@gpu1:22", "alice@gpu1", "gpu2:22"],
        "secrets": ["one", "two"],
    }
    assert masked(config) == {
        "tracker": {
            "class": "m:T",
            "args": {"token": MASK, "url": f"https://me:{MASK}@host/x", "tags": ["a"]},
        },
        "servers": [f"alice:{MASK}@gpu1:22", "alice@gpu1", "gpu2:22"],
        "secrets": [MASK, MASK],
    }
    assert config["tracker"]["args"]["token"] == "hf_X"
    assert masked("hf_X", "tracker.args.token") == MASK
    assert [path for path, _ in secrets_in(config)] == [
        *("tracker.args.token", "tracker.args.url", "servers", "secrets", "secrets")
    ]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--set", "a.token=hf_X", "epochs=3"], ["--set", f"a.token={MASK}", "epochs=3"]),
        (["--set=a.token=hf_X"], [f"--set=a.token={MASK}"]),
        (["--set", "a.password=two words"], ["--set", f"a.password={MASK}"]),
        (["--set", "a.args={'token': 'hf_X', 'n': 3}"], ["--set", f"a.args={{'token': '{MASK}', 'n': 3}}"]),
        (["--set", 'a={"api_key": "X,Y"}'], ["--set", f'a={{"api_key": "{MASK}"}}']),
        (["--token", "hf_X", "--n", "3"], ["--token", MASK, "--n", "3"]),
        (["--token", "--n", "3"], ["--token", "--n", "3"]),
        (["env", "HF_TOKEN=hf_X", "python"], ["env", f"HF_TOKEN={MASK}", "python"]),
        (["sh", "-c", "run --api-key abc --n 3"], ["sh", "-c", f"run --api-key {MASK} --n 3"]),
        (["sh", "-c", "A=1 PASSWORD=x run"], ["sh", "-c", f"A=1 PASSWORD={MASK} run"]),
        (["http://h/?n=1&token=X&m=2"], [f"http://h/?n=1&token={MASK}&m=2"]),
        (["--db=postgres://me:p@w@host/db"], [f"--db=postgres://me:{MASK}@host/db"]),
        (["me:pw@host"], [f"me:{MASK}@host"]),
        (["--notify", "https://hooks/T0/x"], ["--notify", MASK]),
        (["--notify=https://hooks/T0/x", "--notify", "me"], [f"--notify={MASK}", "--notify", "me"]),
        (["--lr", "0.1", "key_points=3", "C:/x", "me@host:22"], None),
    ],
)
def test_words_of_a_command_line(words: list[str], shown: list[str] | None) -> None:
    assert masked_words(words) == (words if shown is None else shown)


def test_known_secrets_and_passwords_in_addresses_leave_no_text() -> None:
    text = "KeyError: 'hf_secret1' at https://me:pw@host/x, tokens: 3"
    assert masked_text(text, ["hf_secret1"]) == f"KeyError: '{MASK}' at https://me:{MASK}@host/x, tokens: 3"
    assert (
        masked_text("the hf_secret12 and hf_secret1", ["hf_secret1", "hf_secret12"])
        == f"the {MASK} and {MASK}"
    )
    assert masked_text("a cat", ["a"]) == "a cat"


def test_long_texts_take_no_long_time() -> None:
    for text in (
        "a" * 20_000,
        "a=" * 10_000,
        "--a " * 5000,
        "a:" * 10_000 + "@",
        "'" * 20_000,
        "http://a:" * 2000,
    ):
        masked_words([text])
        masked_text(text)


def test_what_holds_no_secret_is_shown_as_it_is() -> None:
    class Size(NamedTuple):
        height: int
        token: str

    class Name(str):
        __slots__ = ()

    class NotComparable:
        """As an array."""

        def __eq__(self, other: object) -> bool:
            raise ValueError("of more than one element")

        __hash__ = None

    for value in (
        Size(1, ""),
        Name("a"),
        [float("nan")],
        OrderedDict(a=1),
        [NotComparable()],
        NotComparable(),
    ):
        assert masked(value) is value
    assert masked([Size(1, "x")], "token") == [(1, MASK)]
