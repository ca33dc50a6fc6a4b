"""The page in a real browser: it shows, searches, filters, folds, runs no data and asks no network.

The state of the page stands in its address (#q=...), so that a headless browser that only prints the finished
document shows what a reader would see after typing.
"""

import re
from urllib.parse import quote

import inspection_stand_ins as stand_ins
import pytest
from browser_stand_ins import document as opened
from browser_stand_ins import needs_browser, requests, title
from command_stand_ins import inspect_data
from inspection_stand_ins import byte_tokenizer, page_store

from inters_jax.inspection import rendering
from inters_jax.inspection.rendering import Rendering

pytestmark = [pytest.mark.slow, needs_browser]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page on which only the examples of the task letters have a template and shots."""
    folder = tmp_path_factory.mktemp("page")
    tokenizer = byte_tokenizer(folder / "tokenizer")
    page_store(folder / "store")

    def render(store, picks, **_):
        letters = [pick for pick in picks if pick.task == "letters"]
        made = {
            pick: Rendering(pick.index, None, pick.pass_ + 1, 0, (("description", 1), ("item", 9)))
            for pick in letters
        }
        return made, {"numbers": "not <known>"}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendering, "render", render)
        return inspect_data(
            str(folder / "store"), str(folder / "page.html"), tokenizer=str(tokenizer), raw_dir=str(folder)
        )


def cards(document):
    return [a["data-example"] for a in document.named("article")]


def count(document):
    return document.texts("output", "count")[0]


def test_examples_are_shown_with_their_tokens_and_loss(page):
    document = opened(page, "#ex=0")
    assert cards(document) == ["0"] and count(document).startswith("1 of 1 matching, 26 on this page, 26 in")
    tokens = [a for a in document.named("span") if "data-i" in a]
    assert [int(a["data-i"]) for a in tokens] == list(range(len(tokens)))
    assert tokens[0]["data-name"] == "BOS" and tokens[-1]["data-name"] == "EOS"
    # The first example is of the task letters: one letter and EOS carry loss.
    assert ["l" in a["class"].split() for a in tokens] == [False] * (len(tokens) - 2) + [True] * 2
    assert document.texts("span", "label") == ["description", "item", "completion"]


def test_search_shows_what_holds_every_word(page):
    assert count(opened(page)).startswith("20 of 26 matching")
    document = opened(page, "#q=" + quote("letter “after c?”"))
    shown = document.texts("div", "text")
    assert len(shown) == 2 and all("the letter after c?" in text for text in shown)
    hit = "".join(
        document.text[n] for n, (_, a) in enumerate(document.found) if "hit" in (a.get("class") or "").split()
    )
    assert hit.count("letter") == 2 and "after c?" in hit
    assert count(opened(page, "#q=nothing+like+this")).startswith("0 of 0 matching")
    assert len(cards(opened(page, "#q=n%2F7"))) == 1  # by example id


def test_filters_narrow_to_a_task(page):
    document = opened(page, "#task=markup")
    assert count(document).startswith("2 of 2 matching")
    assert document.texts("button", "task") == ["markup", "markup"]
    both = opened(page, "#task=letters&q=" + quote('"pass 1"'))
    assert count(both).startswith("6 of 6 matching")
    assert document.texts("span", "label") == ["prompt", "completion"] * 2


def test_filters_narrow_to_a_template_and_to_shots(page):
    document = opened(page, "#template=3")
    assert count(document).startswith("2 of 2 matching")  # one in each pass
    assert sorted(document.texts("code", "id")) == ["l/d", "l/d"]
    facts = {" ".join(document.texts("span", "fact")[start : start + 3]) for start in (0, 5)}
    assert facts == {"template 3 1 shot pass 0", "template 3 2 shots pass 1"}
    assert count(opened(page, "#shots=2")).startswith("6 of 6 matching")
    assert count(opened(page, "#shots=2&template=3&task=letters")).startswith("1 of 1 matching")
    assert count(opened(page, "#template=unknown")).startswith("14 of 14 matching")
    # What does not exist filters nothing.
    assert count(opened(page, "#template=77")).startswith("20 of 26 matching")


def test_long_prompts_are_folded_but_never_around_a_match(page):
    folded = opened(page, "#task=numbers")
    assert len(folded.texts("button", "fold")) == 12
    assert all("tokens" in text for text in folded.texts("button", "fold"))
    # "story" stands in each of the twelve sentences before the question.
    assert not opened(page, "#task=numbers&q=story").texts("button", "fold")


def test_a_token_can_be_addressed_and_tells_id_and_position(page):
    document = opened(page, "#ex=0&token=0")
    tip = next(a for a in document.named("div") if a.get("id") == "tip")
    assert "hidden" not in tip
    assert document.texts("div", "tip") == ['BOS "<s>"id 1 · position 0 of 31read first, never predicted']
    last = opened(page, "#ex=0&token=30").texts("div", "tip")[0]
    assert last == 'EOS "</s>"id 2 · position 30 of 31in the loss: predicted at position 29'


def test_keys_move_between_examples_and_tokens(page, tmp_path):
    """The page's keys, pressed by a script added to a copy without its policy."""
    pressed = """<script>
      const press = (key) => document.activeElement.dispatchEvent(
        new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
      const at = () => document.activeElement.closest(".card")?.dataset.example;
      const said = [];
      for (const key of "jjk") { press(key); said.push(at()); }
      for (const key of ["ArrowRight", "ArrowRight", "End"]) {
        press(key);
        said.push(document.getElementById("tip").children[1].textContent);
      }
      press("/");
      said.push(document.activeElement.id);
      document.title = said.join("|");
    </script></body>"""
    copy = tmp_path / "copy.html"
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    copy.write_text(text.replace("</body>", pressed))
    said = title(opened(copy)).split("|")
    assert said[:3] == ["0", "1", "0"]
    assert [word.split(" of ")[0] for word in said[3:6]] == [
        "id 1 \u00b7 position 0",
        "id 83 \u00b7 position 1",
        "id 2 \u00b7 position 30",
    ]
    assert said[6] == "q"


def test_hostile_text_is_shown_and_not_run(page):
    document = opened(page, "#task=markup")
    assert title(document) == "store: training data"
    assert not document.named("img") and not document.named("marquee") and len(document.named("script")) == 2
    shown = document.texts("div", "text")
    assert any(stand_ins.MARKUP in text for text in shown)
    # The two bytes that follow the first one of the sign are tokens of their own, shown as dots.
    assert any("plain \u27e8202E\u27e9\u00b7\u00b7 text" in text for text in shown)
    assert stand_ins.MARKUP_ID in document.texts("code", "id")


def test_page_asks_nothing_of_the_network(page, tmp_path):
    control = tmp_path / "control.html"
    control.write_text('<img src="http://example.invalid/a.png">')
    opened(control, log=tmp_path / "control.json")
    assert requests(tmp_path / "control.json") == ["http://example.invalid/a.png"]
    opened(page, "#q=letter", log=tmp_path / "page.json")
    assert requests(tmp_path / "page.json") == []


def test_even_markup_that_got_in_could_not_run_or_load(page, tmp_path):
    """The policy of the page, tried on a copy in which escaping is undone on purpose."""
    broken = tmp_path / "broken.html"
    hostile = "<script>document.title='taken'</script><img src='http://example.invalid/b.png'>"
    broken.write_text(page.read_text().replace("<main>", "<main>" + hostile, 1))
    document = opened(broken, log=tmp_path / "broken.json")
    assert title(document) == "store: training data"
    assert requests(tmp_path / "broken.json") == []
    assert count(document).startswith("20 of 26")  # and the page's own script still runs
