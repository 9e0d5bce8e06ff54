from loadtest.results.chart import BOTTOM, LEFT, RIGHT, TOP, Chart, Curve


def chart(*values: float | None, warm_up: float = 1) -> Chart:
    curve = Curve("p99", list(range(len(values))), values)
    return Chart("latency, ms", [curve], seconds=len(values) - 1, warm_up_seconds=warm_up)


def test_a_curve_fills_the_frame_and_the_warm_up_is_its_part_of_it() -> None:
    drawn = chart(0, 50, 100)
    middle = (LEFT + RIGHT) / 2
    assert drawn.path(drawn.curves[0]) == (
        f"M{LEFT:.1f} {BOTTOM:.1f}h0 L{middle:.1f} {(TOP + BOTTOM) / 2:.1f} L{RIGHT:.1f} {TOP:.1f}"
    )
    assert drawn.warm_up_width == middle - LEFT
    assert [tick.text for tick in drawn.up] == ["0", "25", "50", "75", "100"]


def test_a_second_without_an_answer_is_a_gap_and_one_between_two_gaps_is_a_dot() -> None:
    drawn = chart(1, None, 1, None, 1, 1)
    strokes = drawn.path(drawn.curves[0]).split("M")[1:]
    assert ["L" in stroke for stroke in strokes] == [False, False, True]
    assert all("h0" in stroke for stroke in strokes)


def test_numbers_on_an_axis_are_round_whatever_the_values_are() -> None:
    assert [tick.text for tick in chart(0.0021, 0.0004).up] == ["0", "0.001", "0.002", "0.003"]
    assert [tick.text for tick in chart(1234, 7).up] == ["0", "500", "1,000", "1,500"]


def test_a_run_without_an_answer_has_axes() -> None:
    for drawn in (chart(None, None), chart(0, 0), Chart("errors/s", [Curve("failed", [], [])], 0, 5)):
        assert [tick.text for tick in drawn.up] == ["0", "0.25", "0.5", "0.75", "1"]
        assert drawn.warm_up_width >= 0
