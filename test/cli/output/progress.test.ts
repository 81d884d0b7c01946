import stringWidth from "string-width";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { DrawnProgress } from "../../../src/cli/output/drawn-progress.ts";
import { NoProgress, PlainProgress } from "../../../src/cli/output/progress.ts";
import { capture } from "../../support/streams.ts";

describe("progress", () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: 1_000_000 });
    // A drawing is made for terminals outside CI.
    vi.stubEnv("CI", undefined);
    vi.stubEnv("TERM", "xterm");
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllEnvs();
  });

  test("in a log there is nothing before ten seconds, then a line every ten, and none after the end", () => {
    const log = capture();
    const progress = new PlainProgress(log.stream, Date.now);
    progress.expect(2, 4_000_000);
    const file = progress.start("a", 2_000_000);
    vi.advanceTimersByTime(9_999);
    expect(log.written).toEqual([]);
    file.advance(1_000_000);
    vi.advanceTimersByTime(1);
    expect(log.written).toEqual(["0/2 files · 25% · 1 MB of 4 MB · 100 kB/s · 30s left\n"]);
    file.done();
    vi.advanceTimersByTime(10_000);
    expect(log.written).toHaveLength(2);
    expect(log.written[1]).toMatch(/^1\/2 files · 50% · 2 MB of 4 MB/);
    progress.stop();
    vi.advanceTimersByTime(60_000);
    expect(log.written).toHaveLength(2);
  });

  test("in a log an unknown total is not guessed", () => {
    const log = capture();
    const progress = new PlainProgress(log.stream, Date.now);
    progress.expect(1, null);
    progress.start("-", null).advance(5_000_000);
    vi.advanceTimersByTime(10_000);
    expect(log.text()).toMatch(/5 MB · 500 kB\/s\n$/);
    expect(log.text()).not.toMatch(/%|left|NaN|Infinity/);
    progress.stop();
  });

  test("a drawing has percent, amount, speed and time left of each file and of the whole", () => {
    const terminal = capture(100);
    let now = 0;
    const progress = new DrawnProgress(terminal.stream, () => now);
    progress.expect(2, 8_000_000);
    const [one, two] = [progress.start("one.bin", 4_000_000), progress.start("two\u001b[2J.bin", 4_000_000)];
    now = 2_000;
    one.advance(1_000_000);
    two.advance(3_000_000);
    vi.advanceTimersByTime(500);
    progress.stop();
    const drawn = terminal.text();
    expect(drawn).toMatch(/0\/2 files · 50% · 4 MB of 8 MB · 2 MB\/s · 2s left/);
    expect(drawn).toMatch(/one\.bin +25% · 1 MB of 4 MB · 500 kB\/s · 6s left/);
    expect(drawn).toMatch(/two\\e\[2J\.bin +75% · 3 MB of 4 MB · 1\.5 MB\/s · 1s left/);
  });

  test("a drawing keeps to the width of the terminal and shows the end of a long path", () => {
    const terminal = capture(60);
    const progress = new DrawnProgress(terminal.stream, Date.now);
    progress.expect(2, 100);
    progress.start(`${"directory/".repeat(20)}end.bin`, 50);
    vi.advanceTimersByTime(300);
    progress.stop();
    expect(terminal.text()).toContain("end.bin");
    const lines = terminal.written.flatMap((frame) => frame.split("\n"));
    for (const line of lines) expect(stringWidth(line)).toBeLessThanOrEqual(60);
  });

  test("what is printed meanwhile stands on lines of its own, and nothing is drawn after the end", () => {
    const terminal = capture(80);
    const progress = new DrawnProgress(terminal.stream, Date.now);
    progress.expect(1, 10);
    const file = progress.start("a", 10);
    progress.interrupt(() => terminal.stream.write("printed\n"));
    expect(terminal.written).toContain("printed\n");
    file.done();
    progress.stop();
    const before = terminal.written.length;
    vi.advanceTimersByTime(5_000);
    file.advance(1);
    expect(terminal.written).toHaveLength(before);
  });

  test("--no-progress prints nothing but what interrupts it", () => {
    const print = vi.fn();
    const progress = new NoProgress();
    progress.start().advance(1);
    progress.interrupt(print);
    expect(print).toHaveBeenCalledOnce();
  });
});
