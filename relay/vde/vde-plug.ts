/**
 * One `vde_plug` (Debian's package vdeplug): Ethernet frames over its standard input and output (vde_plug(1)).
 *
 *   0        2
 *   | length | frame …          length: big-endian, of the frame alone
 *
 * It is started at the first frame, and again when it ends by itself. It ends when its input does, so none outlives us.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { copyOf } from "../nat/words.ts";
import { PLAIN_ENVIRONMENT } from "./programs.ts";

/** Frames that wait for a program that does not read, or is not ready: what is above is lost, as on a wire. */
const INPUT_BYTES = 512 * 1024;
/** Frames between two questions, and how many questions may be open. */
const GROUP = 16;
const OPEN_GROUPS = 2;
const ANSWER_MS = 10_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;
/** Who ran so long may be started again at once. */
const HEALTHY_MS = 10_000;
const KILL_MS = 1000;
/** Of what it says on standard error, for people. */
const WORDS = 300;

/** Cuts the stream into frames. Frames are views of the chunks, whose bytes nobody else needs. */
export class FrameSplitter {
  private rest: Uint8Array | null = null;

  push(chunk: Uint8Array, onFrame: (frame: Uint8Array) => void): void {
    let bytes = chunk;
    if (this.rest) {
      bytes = new Uint8Array(this.rest.length + chunk.length);
      bytes.set(this.rest);
      bytes.set(chunk, this.rest.length);
      this.rest = null;
    }
    let at = 0;
    while (bytes.length - at >= 2) {
      const end = at + 2 + (((bytes[at] as number) << 8) | (bytes[at + 1] as number));
      if (end > bytes.length) break;
      onFrame(bytes.subarray(at + 2, end));
      at = end;
    }
    // A copy: what is left of a chunk must not hold all of it.
    if (at < bytes.length) this.rest = copyOf(bytes, at);
  }
}

/**
 * A frame that the engine answers at once, in its turn: then it has taken all that came before.
 *
 * vde_plug and libslirp, two threads of one process, pass frames to each other through a pair of sockets, and both wait
 * until the other has taken what they write. When both of its directions are full (by default 212,992 bytes, of which a
 * small frame takes 768) they wait for ever: some ten downloads at a time were enough. So no more than 32 frames are on
 * their way: the plug never has to wait, and goes on reading what libslirp writes.
 */
export interface Question {
  frame: Uint8Array;
  isAnswer(frame: Uint8Array): boolean;
}

export interface VdePlugOptions {
  /** The program and its words. */
  command: readonly string[];
  /** What must be done before the first frame, each time it has been started. */
  prepare?: () => Promise<void>;
  /** Asked again and again, if the program needs it. */
  question?: Question;
  /** The frame's bytes may be changed. */
  onFrame(frame: Uint8Array): void;
  /** "it has ended: …", each time. */
  onProblem(words: string): void;
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

export class VdePlug {
  /** Why nothing goes through at the moment; null when all is well, or nobody has sent anything yet. */
  problem: string | null = null;
  private child: Child | null = null;
  private isReady = false;
  private isPaused = false;
  private isClosed = false;
  private isCorked = false;
  private startedAt = 0;
  private pauseMs = FIRST_PAUSE_MS;
  private timer: NodeJS.Timeout | null = null;
  private waiting: Uint8Array[] = [];
  private waitingBytes = 0;
  private sinceQuestion = 0;
  private openGroups = 0;
  private answerTimer: NodeJS.Timeout | null = null;

  constructor(private readonly options: VdePlugOptions) {}

  /**
   * Sends a copy of a frame.
   * @param change is given the copy before it leaves
   * @returns whether it was taken
   */
  send(frame: Uint8Array, change: (copy: Uint8Array) => void): boolean {
    if (this.isClosed) return false;
    if (!this.child && !this.timer) this.start();
    if (!this.child) return false;
    const bytes = Buffer.allocUnsafe(2 + frame.length);
    bytes.writeUInt16BE(frame.length);
    bytes.set(frame, 2);
    change(bytes.subarray(2));
    if (this.mayWrite && this.waiting.length === 0) return this.write(bytes);
    if (this.waitingBytes + bytes.length > INPUT_BYTES) return false;
    this.waiting.push(bytes);
    this.waitingBytes += bytes.length;
    return true;
  }

  /** Reads nothing until `resume()`: the program waits, and with it the servers that it reads from. */
  pause(): void {
    this.isPaused = true;
    this.child?.stdout.pause();
  }

  resume(): void {
    this.isPaused = false;
    this.child?.stdout.resume();
  }

  /** Resolves when the program has ended. */
  async close(): Promise<void> {
    this.isClosed = true;
    this.reset();
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
    const { child } = this;
    if (!child || child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => child.kill("SIGKILL"), KILL_MS);
      child.once("exit", () => {
        clearTimeout(timer);
        resolve();
      });
      child.stdin.destroy();
      child.stdout.destroy();
      child.kill("SIGTERM");
    });
  }

  private start(): void {
    const [program = "", ...words] = this.options.command;
    // Nothing of our environment, which may hold secrets.
    const child: Child = spawn(program, words, {
      stdio: ["pipe", "pipe", "pipe"],
      cwd: "/",
      env: PLAIN_ENVIRONMENT,
    });
    this.child = child;
    this.isReady = false;
    this.startedAt = Date.now();
    const splitter = new FrameSplitter();
    let said = "";
    child.stdout.on("data", (chunk: Uint8Array) => {
      if (this.child === child && !this.isClosed) splitter.push(chunk, (frame) => this.receive(frame));
    });
    if (this.isPaused) child.stdout.pause();
    child.stderr.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-WORDS);
    });
    // Broken pipes; "exit" follows.
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream.on("error", () => {});
    const failed = (why: string): void => {
      if (this.child !== child) return;
      this.child = null;
      this.failed(said.trim() || why);
    };
    child.on("error", (error) => failed(error.message));
    child.on("close", (code, signal) => failed(signal ? `signal ${signal}` : `status ${code}`));
    const ready = (): void => {
      if (this.child !== child || this.isClosed) return;
      this.isReady = true;
      this.problem = null;
      // Before all else: libslirp learns from it where its first answer goes, which would wait otherwise.
      if (this.options.question) this.ask(this.options.question);
      this.flush();
    };
    if (!this.options.prepare) return ready();
    this.options.prepare().then(ready, (error: Error) => {
      said ||= error.message;
      child.kill("SIGKILL");
    });
  }

  private get mayWrite(): boolean {
    return this.isReady && this.openGroups < OPEN_GROUPS;
  }

  private receive(frame: Uint8Array): void {
    if (!this.options.question?.isAnswer(frame)) return this.options.onFrame(frame);
    if (this.openGroups === 0) return;
    this.openGroups--;
    this.awaitAnswer();
    this.flush();
  }

  private flush(): void {
    let count = 0;
    while (this.mayWrite && count < this.waiting.length) {
      const bytes = this.waiting[count++] as Uint8Array;
      this.waitingBytes -= bytes.length;
      this.write(bytes);
    }
    if (count > 0) this.waiting = this.waiting.slice(count);
  }

  private ask(question: Question): void {
    this.sinceQuestion = 0;
    this.openGroups++;
    if (this.openGroups === 1) this.awaitAnswer();
    const bytes = Buffer.alloc(2 + question.frame.length);
    bytes.writeUInt16BE(question.frame.length);
    bytes.set(question.frame, 2);
    this.child?.stdin.write(bytes);
  }

  private awaitAnswer(): void {
    if (this.answerTimer) clearTimeout(this.answerTimer);
    this.answerTimer = null;
    if (this.openGroups === 0) return;
    const { child } = this;
    this.answerTimer = setTimeout(() => {
      // As long as nobody reads what it says it cannot answer.
      if (this.isPaused) this.awaitAnswer();
      else child?.kill("SIGKILL");
    }, ANSWER_MS);
    this.answerTimer.unref();
  }

  private reset(): void {
    this.waiting = [];
    this.waitingBytes = 0;
    this.sinceQuestion = 0;
    this.openGroups = 0;
    if (this.answerTimer) clearTimeout(this.answerTimer);
    this.answerTimer = null;
  }

  private failed(why: string): void {
    this.reset();
    if (this.isClosed) return;
    this.problem = `it has ended: ${why}`;
    this.options.onProblem(this.problem);
    if (Date.now() - this.startedAt >= HEALTHY_MS) this.pauseMs = FIRST_PAUSE_MS;
    // The next frame after the pause starts it again.
    this.timer = setTimeout(() => {
      this.timer = null;
    }, this.pauseMs);
    this.timer.unref();
    this.pauseMs = Math.min(LONGEST_PAUSE_MS, this.pauseMs * 2);
  }

  private write(bytes: Uint8Array): boolean {
    const stdin = this.child?.stdin;
    if (!stdin || stdin.destroyed || stdin.writableLength + bytes.length > INPUT_BYTES) return false;
    // All frames of a turn of the event loop in one system call.
    if (!this.isCorked) {
      this.isCorked = true;
      stdin.cork();
      process.nextTick(() => {
        this.isCorked = false;
        stdin.uncork();
      });
    }
    stdin.write(bytes);
    const { question } = this.options;
    if (question && ++this.sinceQuestion >= GROUP) this.ask(question);
    return true;
  }
}
