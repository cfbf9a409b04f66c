/** Disks against plain memory: chance does to both what a machine and a person may do, and all that is read must be the same. */
import { openDiskStore } from "../../web/disk-store.ts";
import type { Piece } from "../../worker/format/sparse-image.ts";
import { noise, type Plugged, plug, random } from "./disk-store.harness.ts";

const SECTOR = 512;
const MIB = 1024 * 1024;
const LONGEST = 300_000;
/** Some writes have whole groups of chunks. */
const VERY_LONG = 1_500_000;
/** Reads and writes each, however slow the machine is. */
const LEAST = 60;

interface Model {
  id: string;
  now: Uint8Array;
  built: Uint8Array;
}

interface Reader {
  plugged: Plugged;
  /** What the disk was when its writer began. */
  content: Uint8Array;
}

export interface ModelReport {
  steps: number;
  reads: number;
  writes: number;
  reopenings: number;
}

/** Runs for about so long, at least through ten openings and LEAST reads and writes. @throws Error with the seed at the first difference */
export async function runModel(seed: number, milliseconds: number): Promise<ModelReport> {
  const run = new Run(seed);
  try {
    await run.all(performance.now() + milliseconds);
    return run.report;
  } catch (error) {
    throw new Error(`seed ${seed}, after ${run.log.slice(-14).join("; ")}: ${(error as Error).message}`);
  }
}

class Run {
  readonly report: ModelReport = { steps: 0, reads: 0, writes: 0, reopenings: 0 };
  readonly log: string[] = [];
  readonly #random: () => number;
  readonly #seed: number;
  #stamp = 0;
  #store!: Awaited<ReturnType<typeof openDiskStore>>;

  constructor(seed: number) {
    this.#seed = seed;
    this.#random = random(seed);
  }

  async all(deadline: number): Promise<void> {
    this.#store = await openDiskStore();
    let disk = await this.#put(`model-${this.#seed}`);
    let other: Model | null = null;
    let reader: Reader | null = null;
    const { report } = this;
    while (performance.now() < deadline || report.reopenings < 10 || Math.min(report.reads, report.writes) < LEAST) {
      this.report.steps += 1;
      const wasAt = disk.now.slice();
      this.#note("open");
      const plugged = await plug(this.#store, disk.id);
      if (!plugged.drive.writable) throw new Error("the drive cannot be written to");
      this.report.reopenings += 1;
      if (!reader && this.#chance(0.2)) {
        this.#note("second drive to read");
        reader = { plugged: await plug(this.#store, disk.id), content: wasAt };
        if (reader.plugged.drive.writable) throw new Error("two drives write");
      }
      for (let batch = this.#below(6); batch > 0; batch -= 1) {
        // From the first flush on, the drive caches writes.
        if (this.#chance(0.3)) {
          this.#note("flush");
          if (!(await plugged.flush())) throw new Error(`a flush failed: ${plugged.problems.at(-1)?.detail}`);
        }
        await Promise.all(this.#batch(plugged, disk));
        if (reader) await Promise.all(this.#reads(reader.plugged, reader.content));
      }
      this.#note("close");
      if (this.#chance(0.3)) {
        // What was handed over and not answered yet is stored all the same.
        const [offset, bytes] = this.#bytes(disk.now);
        disk.now.set(bytes, offset);
        plugged.drive.set(offset, bytes, () => {});
      }
      await plugged.drive.close();
      if (reader) {
        await Promise.all(this.#reads(reader.plugged, reader.content));
        await this.#mustRefuse(disk);
        if (this.#chance(0.6)) continue;
        await reader.plugged.drive.close();
        reader = null;
      }
      [disk, other] = await this.#asWhole(disk, other);
    }
    await reader?.plugged.drive.close();
    await this.#compare(disk);
    this.#store.close();
  }

  /** Reads and writes that do not wait for each other. */
  #batch(plugged: Plugged, disk: Model): Promise<void>[] {
    const pending: Promise<void>[] = [];
    for (let count = 1 + this.#below(5); count > 0; count -= 1)
      if (this.#chance(0.5)) {
        const [offset, bytes] = this.#bytes(disk.now);
        this.#note(`set ${offset} ${bytes.length}`);
        disk.now.set(bytes, offset);
        this.report.writes += 1;
        pending.push(
          plugged.set(offset, bytes).then((isDone) => {
            if (!isDone) throw new Error(`a write at ${offset} failed: ${plugged.problems.at(-1)?.detail}`);
          }),
        );
      } else pending.push(this.#read(plugged, disk.now));
    return pending;
  }

  #reads(plugged: Plugged, model: Uint8Array): Promise<void>[] {
    return Array.from({ length: 1 + this.#below(3) }, () => this.#read(plugged, model));
  }

  async #read(plugged: Plugged, model: Uint8Array): Promise<void> {
    const [offset, length] = this.#place(model);
    this.#note(`get ${offset} ${length}`);
    const expected = model.slice(offset, offset + length);
    this.report.reads += 1;
    const found = await plugged.get(offset, length);
    if (!found) throw new Error(`reading ${length} at ${offset} failed: ${plugged.problems.at(-1)?.detail}`);
    same(found, expected, offset);
  }

  /** Something that is done with a disk that no machine has. */
  async #asWhole(disk: Model, other: Model | null): Promise<[disk: Model, other: Model | null]> {
    const what = this.#below(14);
    if (what === 0 || what === 1) {
      const shift = 512 * (1 + this.#below(what === 0 ? 64 : 3000));
      const size = Math.max(SECTOR, Math.min(4 * MIB, disk.now.length + (this.#chance(0.5) ? shift : -shift)));
      this.#note(`resize ${size}`);
      await this.#store.resize(disk.id, size);
      disk.now = resized(disk.now, size);
      disk.built = resized(disk.built, size);
    } else if (what === 2) {
      this.#note("reset");
      await this.#store.reset(disk.id);
      disk.now = disk.built.slice();
    } else if (what === 3) {
      this.#note("merge");
      await this.#store.merge(disk.id);
      disk.built = disk.now.slice();
    } else if (what === 4) {
      if (other) {
        this.#note("remove the copy");
        await this.#compare(other);
        await this.#store.remove(other.id);
        return [disk, null];
      }
      const id = `${disk.id}-${this.report.steps}`;
      this.#note("duplicate");
      await this.#store.duplicate(disk.id, id);
      return [disk, { id, now: disk.now.slice(), built: disk.built.slice() }];
    } else if (what === 5 && other) {
      this.#note("turn to the copy");
      return [other, disk];
    } else if (what === 6 && this.#chance(0.3)) return [await this.#put(disk.id), other];
    else if (what <= 8) await this.#compare(disk);
    else if (what >= 12) await this.#rewrite(disk);
    return [disk, other];
  }

  /** Makes a disk out of its own parts, where they are and elsewhere, and of new bytes. */
  async #rewrite(disk: Model): Promise<void> {
    const before = disk.now;
    const now = new Uint8Array(this.#chance(0.5) ? before.length : SECTOR * (1 + this.#below(8000)));
    const pieces: Piece[] = [];
    for (let offset = 0; offset < now.length; ) {
      const length = Math.min(1 + this.#below(this.#chance(0.5) ? LONGEST : 3 * MIB), now.length - offset);
      const from = this.#chance(0.6) ? offset : this.#below(before.length);
      const what = this.#below(4);
      if (what === 0) {
        this.#stamp += 1;
        const bytes = noise(this.#stamp, length);
        pieces.push({ offset, bytes });
        now.set(bytes, offset);
      } else if (what > 1 && from + length <= before.length) {
        pieces.push({ offset, length, source: 0, from });
        now.set(before.subarray(from, from + length), offset);
      }
      offset += length;
    }
    this.#note(`rewrite ${now.length}`);
    await this.#store.rewrite(disk.id, async ({ source }) => {
      same(await source.read(0, source.size), before, 0);
      return { size: now.length, pieces };
    });
    disk.now = now;
    disk.built = now.slice();
    await this.#compare(disk);
  }

  async #mustRefuse(disk: Model): Promise<void> {
    const refused = await this.#store.resize(disk.id, disk.now.length).then(
      () => false,
      (error: Error) => /^Cannot .*: it is in use/.test(error.message),
    );
    if (!refused) throw new Error("a disk that somebody reads could be resized");
  }

  async #compare(disk: Model): Promise<void> {
    this.#note("compare");
    const facts = await this.#store.facts(disk.id);
    if (facts?.sizeBytes !== disk.now.length) throw new Error(`the size is ${facts?.sizeBytes}`);
    await this.#store.read(disk.id, async ({ source, extents }) => {
      same(await source.read(0, source.size), disk.now, 0);
      const again = new Uint8Array(source.size);
      for await (const { offset, bytes } of extents()) again.set(bytes, offset);
      same(again, disk.now, 0);
    });
  }

  async #put(id: string): Promise<Model> {
    const now = new Uint8Array(SECTOR * (1 + this.#below(6000)));
    const extents = [];
    for (let end = 0; ; ) {
      const offset = end + this.#below(400_000);
      if (offset >= now.length) break;
      this.#stamp += 1;
      const bytes = noise(this.#stamp, Math.min(1 + this.#below(LONGEST), now.length - offset));
      extents.push({ offset, bytes });
      now.set(bytes, offset);
      end = offset + bytes.length;
    }
    this.#note(`put ${now.length}`);
    await this.#store.put(id, now.length, extents);
    return { id, now, built: now.slice() };
  }

  /** What is written: noise, and now and then zeros. */
  #bytes(model: Uint8Array): [offset: number, bytes: Uint8Array] {
    const [offset, length] = this.#place(model);
    this.#stamp += 1;
    return [offset, this.#chance(0.2) ? new Uint8Array(length) : noise(this.#stamp + this.#seed * 7919, length)];
  }

  #place(model: Uint8Array): [offset: number, length: number] {
    const sectors = model.length / SECTOR;
    const longest = this.#chance(0.2) ? VERY_LONG : LONGEST;
    const most = this.#chance(0.5) ? 16 : Math.floor(longest / SECTOR);
    const offset = this.#below(sectors);
    return [offset * SECTOR, SECTOR * (1 + this.#below(Math.min(most, sectors - offset)))];
  }

  #note(words: string): void {
    this.log.push(words);
  }

  #chance(share: number): boolean {
    return this.#random() < share;
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }
}

function resized(bytes: Uint8Array, size: number): Uint8Array {
  const result = new Uint8Array(size);
  result.set(bytes.subarray(0, size));
  return result;
}

function same(found: Uint8Array, expected: Uint8Array, offset: number): void {
  if (found.length !== expected.length)
    throw new Error(`${found.length} bytes at ${offset} in place of ${expected.length}`);
  const at = found.findIndex((byte, index) => byte !== expected[index]);
  if (at >= 0) throw new Error(`${offset + at} is ${found[at]} and not ${expected[at]}`);
}
