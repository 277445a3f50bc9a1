/**
 * The verdicts on one item, as the server has them and as they were just given here. Each is kept
 * in the browser until the server has confirmed it, so that none is lost with the connection.
 */
import { ItemApi, newUid, ServerError, type Item, type Row, type Statistics, type VerdictBody, type WindowRow } from "./api.ts";
import { areaOf } from "./polygon.ts";
import type { Box } from "./grid.ts";

type Content = Omit<VerdictBody, "known_revision">;

/** A change that the server has not confirmed yet. */
interface Unsent {
  key: string;
  item: string;
  uid: string;
  /** Null: the verdict is taken back. */
  content: Content | null;
  known: number | null;
}

export type Connection = "ok" | "lost" | "locked";

const STORAGE = "changedet.unsent/";
const POLL_MS = 4000;
const RETRY_MS = 1500;

export class Review {
  readonly rows = new Map<string, Row>();
  readonly windows = new Map<string, WindowRow>();
  statistics: Statistics | null = null;
  connection: Connection = "ok";
  private revision = 0;
  /** The revision of each row that was shown here, for the server to notice conflicts. */
  private readonly known = new Map<string, number | null>();
  private readonly undoable: { uid: string; earlier: Row | null; isWindow: boolean }[] = [];
  private unsent: Unsent[];
  private sending = false;
  private closed = false;
  private timer = 0;
  private readonly fingerprint: string;

  constructor(
    private readonly api: ItemApi,
    item: Item,
    private readonly changed: () => void,
    private readonly say: (text: string) => void,
  ) {
    // Another result may be served from the same address later: its verdicts are not ours.
    this.fingerprint = JSON.stringify([item.name, item.width, item.height, item.created, item.threshold]);
    this.unsent = Object.keys(localStorage)
      .filter((key) => key.startsWith(STORAGE))
      .sort()
      .map((key) => JSON.parse(localStorage.getItem(key)!) as Unsent)
      .filter((change) => change.item === this.fingerprint);
  }

  get waiting(): number {
    return this.unsent.length;
  }

  get canUndo(): boolean {
    return this.undoable.length > 0;
  }

  async open(): Promise<void> {
    await this.poll();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  /** Give a verdict, or a new one in place of an earlier one. */
  put(uid: string, content: Content): void {
    this.undoable.push({ uid, earlier: this.rows.get(uid) ?? null, isWindow: false });
    this.change(uid, content);
  }

  /** Change a note without a step of its own for undo. */
  setNote(uid: string, note: string): void {
    const row = this.rows.get(uid);
    if (row && row.note !== note) this.change(uid, { ...contentOf(row), note });
  }

  /** Take back the last verdict or window given here; returns its uid, null where nothing is left. */
  undo(): string | null {
    const last = this.undoable.pop();
    if (!last) return null;
    if (last.isWindow) void this.removeWindow(last.uid);
    else this.change(last.uid, last.earlier && contentOf(last.earlier));
    return last.uid;
  }

  async markWindow(window: Box, who: string | null): Promise<void> {
    const { row } = await this.api.putWindow(newUid(), window, who);
    this.windows.set(row.uid, row);
    this.undoable.push({ uid: row.uid, earlier: null, isWindow: true });
    this.changed();
  }

  private async removeWindow(uid: string): Promise<void> {
    try {
      await this.api.deleteWindow(uid);
      this.windows.delete(uid);
      this.changed();
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      this.undoable.push({ uid, earlier: null, isWindow: true });
      this.say(`Not undone: ${error.message}`);
    }
  }

  private change(uid: string, content: Content | null): void {
    const change: Unsent = {
      key: `${STORAGE}${Date.now().toString().padStart(15, "0")}-${newUid()}`,
      item: this.fingerprint,
      uid,
      content,
      known: this.known.get(uid) ?? null,
    };
    this.unsent.push(change);
    this.keep(change);
    this.show(change);
    this.changed();
    void this.send();
  }

  private keep(change: Unsent): void {
    try {
      localStorage.setItem(change.key, JSON.stringify(change));
    } catch {
      this.say("The browser's storage is full: verdicts are kept only while this page is open.");
    }
  }

  private show({ uid, content }: Unsent): void {
    if (!content) {
      this.rows.delete(uid);
      return;
    }
    const geometry = content.geometry ?? this.rows.get(uid)?.geometry ?? { type: "Polygon", coordinates: [] };
    this.rows.set(uid, {
      area_m2: this.rows.get(uid)?.area_m2 ?? null,
      ...content,
      uid,
      geometry,
      area_px: areaOf(geometry),
      when: new Date().toISOString(),
      revision: this.known.get(uid) ?? 0,
    });
  }

  /** Send what waits, in order; stops where the connection is lost and is called again later. */
  private async send(): Promise<void> {
    if (this.sending) return;
    this.sending = true;
    try {
      while (this.unsent.length && !this.closed) {
        const change = this.unsent[0]!;
        try {
          await this.sendOne(change);
        } catch (error) {
          if (!(error instanceof ServerError)) throw error;
          if (error.passing) {
            this.setConnection(error);
            return;
          }
          this.refused(change, error);
        }
        this.unsent.shift();
        localStorage.removeItem(change.key);
        this.changed();
      }
    } finally {
      this.sending = false;
    }
  }

  private async sendOne({ uid, content, known }: Unsent): Promise<void> {
    // Polygons of the result have their own geometry unless they were outlined anew.
    const ofResult = uid.startsWith("r") && content?.verdict !== "edited";
    const saved = content
      ? await this.api.putVerdict(uid, { ...content, geometry: ofResult ? null : content.geometry, known_revision: known })
      : await this.api.deleteVerdict(uid, known);
    this.connection = "ok";
    this.statistics = saved.statistics;
    const now = saved.row?.revision ?? null;
    this.known.set(uid, now);
    const later = this.unsent.slice(1).filter((change) => change.uid === uid);
    for (const change of later) {
      change.known = now;
      this.keep(change);
    }
    if (saved.row && !later.length) this.rows.set(uid, saved.row);
  }

  private refused({ uid }: Unsent, error: ServerError): void {
    const { current } = error;
    this.take(uid, current);
    if (current) {
      const whose = current.who ? `${current.who}'s` : "the other";
      this.say(`${error.message} Now shown: ${whose} verdict, ${current.verdict}. Judge again to replace it.`);
    } else {
      this.say(`Not saved: ${error.message}`);
      this.revision = 0; // Ask for everything again, so that what is shown is what is saved.
    }
    for (const change of this.unsent.slice(1)) if (change.uid === uid) change.known = this.known.get(uid) ?? null;
    const steps = this.undoable.filter((step) => step.uid !== uid);
    this.undoable.splice(0, this.undoable.length, ...steps);
  }

  private take(uid: string, row: Row | null): void {
    if (row) this.rows.set(uid, row);
    else this.rows.delete(uid);
    this.known.set(uid, row?.revision ?? null);
  }

  /** Ask what others have changed; also finds out that the server is back. */
  private async poll(): Promise<void> {
    clearTimeout(this.timer);
    try {
      const answer = await this.api.review(this.revision);
      if (this.closed) return;
      const mine = new Set(this.unsent.map(({ uid }) => uid));
      const news = this.connection !== "ok" || !this.statistics || answer.revision !== this.revision;
      if (this.revision === 0) {
        for (const uid of this.rows.keys()) if (!mine.has(uid)) this.rows.delete(uid);
      }
      for (const row of answer.verdicts) if (!mine.has(row.uid)) this.take(row.uid, row);
      for (const { uid } of answer.deleted ?? []) {
        if (!mine.has(uid)) this.take(uid, null);
        this.windows.delete(uid);
      }
      for (const window of answer.windows) this.windows.set(window.uid, window);
      if (this.revision === 0) for (const change of this.unsent) this.show(change);
      this.revision = answer.revision;
      this.statistics = answer.statistics;
      this.connection = "ok";
      if (news) this.changed();
      await this.send();
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      this.setConnection(error);
    } finally {
      const pause = this.connection === "ok" ? POLL_MS : RETRY_MS;
      if (!this.closed) this.timer = window.setTimeout(() => void this.poll(), pause);
    }
  }

  private setConnection(error: ServerError): void {
    const connection = error.status === 403 ? "locked" : "lost";
    if (connection !== this.connection) {
      this.connection = connection;
      this.changed();
    }
  }
}

function contentOf(row: Row): Content {
  const { verdict, geometry, note, who, window, mean_score, max_score, threshold } = row;
  return { verdict, geometry, note, who, window, mean_score, max_score, threshold };
}
