/** Progress of long work without a terminal: a plain line now and then, always on stderr. */
import ms from "ms";
import prettyBytes from "pretty-bytes";
import type { FileProgress, OutputStream, Progress } from "./reporter.ts";

/** Milliseconds between two lines. */
const lineInterval = 10_000;

interface FileState {
  readonly label: string;
  readonly size: number | null;
  readonly since: number;
  bytes: number;
  /** The part of them that was sent. */
  sent: number;
}

/** The numbers behind every kind of progress. */
class Tally {
  readonly active = new Set<FileState>();
  readonly #now: () => number;
  readonly #since: number;
  #files = 0;
  #expectedFiles: number | null = null;
  /** Of files finished or in flight. Speed and time left count only sent bytes. */
  #bytes = 0;
  #sent = 0;
  #expectedBytes: number | null = null;

  constructor(now: () => number) {
    this.#now = now;
    this.#since = now();
  }

  expect(files: number | null, bytes: number | null): void {
    this.#expectedFiles = files;
    this.#expectedBytes = bytes;
  }

  start(label: string, size: number | null): FileState {
    const state = { label, size, since: this.#now(), bytes: 0, sent: 0 };
    this.active.add(state);
    return state;
  }

  advance(state: FileState, bytes: number): void {
    this.skip(state, bytes);
    state.sent += bytes;
    this.#sent += bytes;
  }

  skip(state: FileState, bytes: number): void {
    state.bytes += bytes;
    this.#bytes += bytes;
  }

  done(state: FileState): void {
    this.active.delete(state);
    this.#files += 1;
    // An unsent file counts as finished.
    if (state.size !== null) this.#bytes += Math.max(0, state.size - state.bytes);
  }

  get single(): boolean {
    return this.#expectedFiles === 1;
  }

  total(): string {
    const files = this.#expectedFiles === null ? `${this.#files} files` : `${this.#files}/${this.#expectedFiles} files`;
    const elapsed = this.#now() - this.#since;
    return [files, ...measures(this.#bytes, this.#expectedBytes, this.#sent, elapsed)].join(" · ");
  }

  file({ bytes, sent, size, since }: FileState): string {
    return measures(bytes, size, sent, this.#now() - since).join(" · ");
  }
}

/** Percent, amount, speed and time left, as far as known. */
function measures(bytes: number, total: number | null, sent: number, elapsed: number): string[] {
  const speed = elapsed > 0 ? (sent / elapsed) * 1000 : 0;
  const known = total !== null && total > 0;
  return [
    ...(known ? [`${Math.min(100, Math.floor((bytes / total) * 100))}%`] : []),
    known ? `${prettyBytes(bytes)} of ${prettyBytes(total)}` : prettyBytes(bytes),
    ...(speed > 0 ? [`${prettyBytes(speed)}/s`] : []),
    ...(known && speed > 0 && bytes < total ? [`${ms(Math.max(1000, ((total - bytes) / speed) * 1000))} left`] : []),
  ];
}

/** Counts progress; subclasses show it. */
export abstract class CountedProgress implements Progress {
  abstract readonly drawn: boolean;
  protected readonly stream: OutputStream;
  protected readonly tally: Tally;

  constructor(stream: OutputStream, now: () => number) {
    this.stream = stream;
    this.tally = new Tally(now);
  }

  expect(files: number | null, bytes: number | null): void {
    this.tally.expect(files, bytes);
  }

  start(label: string, size: number | null): FileProgress {
    const state = this.tally.start(label, size);
    this.show();
    return {
      advance: (bytes) => this.tally.advance(state, bytes),
      skip: (bytes) => this.tally.skip(state, bytes),
      done: () => this.tally.done(state),
    };
  }

  abstract interrupt(print: () => void): void;
  abstract stop(): void;

  /** Called as each file begins, the first of which starts the display. */
  protected abstract show(): void;
}

/** For logs: nothing for short work, otherwise a line every ten seconds. */
export class PlainProgress extends CountedProgress {
  readonly drawn = false;
  #timer: NodeJS.Timeout | undefined;

  interrupt(print: () => void): void {
    print();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  protected show(): void {
    this.#timer ??= setInterval(() => this.stream.write(`${this.tally.total()}\n`), lineInterval).unref();
  }
}

/** `--no-progress` */
export class NoProgress implements Progress {
  readonly drawn = false;

  expect(): void {}

  start(): FileProgress {
    return { advance() {}, skip() {}, done() {} };
  }

  interrupt(print: () => void): void {
    print();
  }

  stop(): void {}
}
