"""What a person types at `orderspine channels`: connections are changed as said, spans are as people mean them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.platforms.connection import Connection
from runners.commands import channels
from runners.connections import load, save
from runners.lock import DataLock
from runners.pulling_store import Pulls, State
from runners.settings import Settings, load_settings
from runners.shops import shops
from tests.integration.running import Said, orderspine

TAOBAO = ("--channel", "taobao", "--shop", "hardware")


@pytest.fixture
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load_settings(str(tmp_path_factory.mktemp("data")), zone="Asia/Shanghai")


@pytest.mark.parametrize("begins", [True, False])
def test_a_date_is_wholly_inside_the_span_that_it_bounds(settings: Settings, begins: bool) -> None:
    found = channels._since("2026-11-10", settings, begins=begins)
    at = datetime.fromtimestamp(found / 1000, UTC).isoformat(timespec="milliseconds")
    assert at == ("2026-11-09T16:00:00.000+00:00" if begins else "2026-11-10T15:59:59.999+00:00")


def test_a_time_is_taken_as_it_is(settings: Settings) -> None:
    assert channels._since("2026-11-10 20:00:00", settings) == 1_794_312_000_000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with DataLock(tmp_path / "data"):
        pass
    return tmp_path / "data"


def say(data: Path, *words: object) -> Said:
    return orderspine("channels", *words, "--data", data)


def only(data: Path) -> Connection:
    (one,) = load(data)
    return one


@pytest.mark.parametrize(
    "other", [("--channel", "taobao", "--shop", "tools"), ("--channel", "jd", "--shop", "hardware")]
)
def test_a_connection_never_becomes_that_of_another_shop(data: Path, other: tuple[str, ...]) -> None:
    assert say(data, "add", "a", *TAOBAO, "--option", "app_key=1").code == 0
    said = say(data, "add", "a", *other, "--option", "app_key=1", "--replace")
    assert said.code == 1
    assert "a is shop hardware of taobao, and channel and shop cannot be changed" in said.err
    assert "under another name" in said.err
    assert (only(data).channel, only(data).shop) == ("taobao", "hardware")


def test_changing_a_connection_keeps_what_is_not_said_again(data: Path) -> None:
    urls = ("--base-url", "http://127.0.0.1:9", "--token-url", "http://127.0.0.1:9/token")
    more = ("--option", "app_key=1", "--option", "types=fixed", "--secret", "app_secret=env:NOWHERE")
    assert say(data, "add", "a", *TAOBAO, *urls, *more, "--pull-every", "60", "--no-listen", "--no-enabled").code == 0
    before = only(data)
    said = say(data, "add", "a", *TAOBAO, "--option", "app_key=2", "--replace", "--json")
    assert (said.code, said.json["connection"]["base_url"]) == (0, "http://127.0.0.1:9")
    assert said.json["kept"] == [
        *("base_url", "token_url", "enabled", "pull_every_s", "listen"),
        *("option types", "secret app_secret"),
    ]
    assert only(data).options == {"app_key": "2", "types": "fixed"}
    assert only(data).secrets == before.secrets
    assert (only(data).token_url, only(data).pull_every_s, only(data).listen) == ("http://127.0.0.1:9/token", 60, False)
    assert not only(data).enabled
    told = say(data, "add", "a", *TAOBAO, "--replace").err
    assert "as before: base_url, token_url" in told
    assert "it is off" in told


def test_what_is_said_empty_is_taken_away_from_a_connection(data: Path) -> None:
    more = ("--option", "app_key=1", "--option", "types=fixed", "--secret", "app_secret=env:NOWHERE")
    assert say(data, "add", "a", *TAOBAO, "--base-url", "http://127.0.0.1:9", *more).code == 0
    gone = ("--base-url", "", "--option", "types=", "--secret", "app_secret=")
    assert say(data, "add", "a", *TAOBAO, "--replace", *gone).code == 0
    assert only(data) == Connection("a", "taobao", "hardware", options={"app_key": "1"})
    said = say(data, "add", "a", *TAOBAO, "--replace", "--option", "types=")
    assert (said.code, "there is no types to take away" in said.err) == (2, True)


def test_a_shop_has_one_connection_that_is_on(data: Path) -> None:
    usual = (*TAOBAO, "--option", "app_key=1")
    assert say(data, "add", "a", *usual).code == 0
    said = say(data, "add", "b", *usual)
    assert (said.code, "a connects shop hardware of taobao already" in said.err) == (1, True)
    assert "orderspine channels disable a" in said.err
    assert [each.name for each in load(data)] == ["a"]
    assert say(data, "add", "b", "--channel", "taobao", "--shop", "tools", "--option", "app_key=1").code == 0
    assert say(data, "add", "c", *usual, "--no-enabled").code == 0
    assert say(data, "enable", "c").code == 1
    assert say(data, "add", "c", *usual, "--replace", "--enabled").code == 1
    assert say(data, "disable", "a").code == 0
    assert say(data, "enable", "c").code == 0
    assert [each.enabled for each in load(data)] == [False, True, True]


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        (("--option", "ordr_states=x"), "has no option 'ordr_states'; did you mean order_states?"),
        (("--option", "carier.SF=1"), "has no option 'carier.SF'; did you mean carrier.…?"),
        (("--option", "carrier.=1"), "has no option 'carrier.'"),
        (("--option", "mchid=1"), "has no option 'mchid'; It has: app_key, calls_per_s, carrier.…, compare_every_h"),
        (("--secret", "ap_secret=env:NOWHERE"), "has no secret 'ap_secret'; did you mean app_secret?"),
    ],
)
def test_a_name_that_nobody_reads_is_refused(data: Path, word: tuple[str, str], sentence: str) -> None:
    usual = ("--channel", "jd", "--shop", "s", "--option", "app_key=1")
    said = say(data, "add", "a", *usual, *word)
    assert (said.code, sentence in said.err) == (2, True), said.err
    assert load(data) == ()
    good = ("--option", "order_states=x", "--option", "carrier.SF=1", "--option", "since_days=2")
    assert say(data, "add", "a", *usual, *good, "--secret", "app_secret=env:NOWHERE").code == 0


def test_a_name_that_nobody_reads_and_that_is_there_already_can_be_taken_away(data: Path) -> None:
    save(data, [Connection("a", "jd", "s", options={"app_key": "1", "ordr_states": "x"})])
    usual = ("add", "a", "--channel", "jd", "--shop", "s", "--replace")
    assert "`--option ordr_states= --replace`" in say(data, *usual).err
    assert say(data, *usual, "--option", "ordr_states=").code == 0
    assert only(data).options == {"app_key": "1"}


def test_a_secret_that_is_needed_and_not_named_is_still_to_do(data: Path) -> None:
    said = say(data, "add", "a", "--channel", "generic", "--shop", "s", "--json")
    assert "does not say where its secret push_secret is found" in said.json["to_do"][0]
    checked = say(data, "check", "a")
    assert (checked.code, "坏 BAD" in checked.out, "push_secret" in checked.out) == (1, True, True)


@pytest.mark.parametrize(
    ("channel", "options", "option"),
    [
        ("shopify", ("shop_domain=a.myshopify.com", "app_key=1"), "notify_customer"),
        ("douyin", ("app_key=1", "shop_id=1"), "reject_refunds"),
    ],
)
def test_what_is_true_or_false_is_nothing_else(data: Path, channel: str, options: tuple[str, ...], option: str) -> None:
    words = [
        "add",
        "a",
        "--channel",
        channel,
        "--shop",
        "s",
        *(word for each in options for word in ("--option", each)),
    ]
    said = say(data, *words, "--option", f"{option}=no")
    assert (said.code, f"the option {option} must be true or false" in said.err) == (2, True)
    assert say(data, *words, "--option", f"{option}=False").code == 0


def test_nothing_is_pulled_from_a_time_that_is_still_to_come(data: Path) -> None:
    assert say(data, "add", "a", *TAOBAO, "--option", "app_key=1").code == 0
    said = say(data, "pull", "a", "--since", "2099-01-01")
    assert (said.code, "--since 2099-01-01 is still to come" in said.err) == (2, True)


def states(data: Path) -> dict[str, str]:
    return {shop.name: channels._state(shop) for shop in shops(data, 0)}


def test_a_connection_that_only_takes_pushes_says_so_and_whether_it_can(data: Path) -> None:
    own = ("--channel", "generic", "--shop")
    assert say(data, "add", "good", *own, "1", "--secret", f"push_secret=file:{data}/there").code == 0
    assert say(data, "add", "bad", *own, "2", "--secret", f"push_secret=file:{data}/nowhere").code == 0
    assert say(data, "add", "none", *own, "3").code == 0
    # What this process has set says nothing of `up`, which tells itself.
    assert say(data, "add", "env", *own, "4", "--secret", "push_secret=env:NOWHERE").code == 0
    assert say(data, "add", "off", *own, "5", "--no-enabled").code == 0
    assert say(data, "add", "pulled", *own, "6", "--base-url", "http://127.0.0.1:9").code == 0
    (data / "there").touch(0o600)
    (data / "there").write_text("hush")
    assert states(data) == {
        "good": "正常 pushes only",
        "bad": "异常 access",
        "none": "异常 access",
        "env": "正常 pushes only",
        "off": "停用 off",
        "pulled": "等待 not pulled yet",
    }
    said = say(data, "list")
    assert "bad: access: secret push_secret of connection bad: there is no file" in said.err
    assert "`orderspine up` does not run here" in said.err


def test_nobody_listens_where_nobody_runs(data: Path) -> None:
    assert say(data, "add", "a", *TAOBAO, "--option", "app_key=1").code == 0
    pulls = Pulls(data)
    pulls.tell("a", State(pulled_ms=1, listening=True))
    pulls.close()
    assert states(data) == {"a": "正常 good"}
    with DataLock(data):
        assert states(data) == {"a": "正常 listening"}
        assert "does not run" not in say(data, "list").err


@pytest.mark.parametrize("option", ["calls_per_ss", "since_days"])
def test_checking_tells_of_options_that_were_written_by_hand_and_mean_nothing(data: Path, option: str) -> None:
    there = f"file:{data}/there"
    (data / "there").touch(0o600)
    (data / "there").write_text("hush")
    save(data, [Connection("a", "generic", "s", options={option: "x"}, secrets={"push_secret": there})])
    said = say(data, "check", "a")
    assert (said.code, "坏 BAD" in said.out, option in said.out) == (1, True, True), said.out
