/** A character and how it relates to the text it replaces; see AlignedText.transform. */
export type CharChange = readonly [char: string, change: number];

/** A part of a text: start and end (exclusive), in UTF-16 units. */
export type Span = readonly [start: number, end: number];

/**
 * Text that has been normalized, with the span of the original that each of its UTF-16 units comes from. It is the reference's
 * `NormalizedString` (which counts bytes), immutable. As long as nothing was inserted or removed, no table of spans is kept.
 */
export class AlignedText {
  private constructor(
    readonly text: string,
    /** Where this piece starts in the original text. */
    readonly origin: number,
    /** Start and end in the original for each unit; null: unit i comes from unit `origin + i`. */
    private readonly spans: { starts: number[]; ends: number[] } | null,
  ) {}

  /** A text that is its own original. */
  static of(text: string): AlignedText {
    return new AlignedText(text, 0, null);
  }

  /** The span of the original that units `start` to `end` come from. `start < end`; both on a character's border. */
  spanOf(start: number, end: number): Span {
    if (!this.spans) return [this.origin + start, this.origin + end];
    return [this.spans.starts[start]!, this.spans.ends[end - 1]!];
  }

  /** A piece of the text. */
  slice(start: number, end: number): AlignedText {
    const origin = start < end ? this.spanOf(start, end)[0] : this.origin + start;
    return new AlignedText(this.text.slice(start, end), origin, this.cutSpans(start, end));
  }

  /** The text without its ends; unlike a slice, it still counts as starting where it did. */
  trim(start: number, end: number): AlignedText {
    if (start === 0 && end === this.text.length) return this;
    const spans = this.spans ?? this.table();
    const cut = { starts: spans.starts.slice(start, end), ends: spans.ends.slice(start, end) };
    return new AlignedText(this.text.slice(start, end), this.origin, cut);
  }

  /** Another spelling of the same length, unit for unit. */
  withText(text: string): AlignedText {
    return text === this.text ? this : new AlignedText(text, this.origin, this.spans);
  }

  /**
   * A new text, character by character. A change of 0 replaces the next character; 1 inserts one, which gets the span of what
   * comes before it; -n replaces the next character and removes the n after it.
   *
   * @param skip characters removed from the start
   */
  transform(changes: readonly CharChange[], skip = 0): AlignedText {
    const old = this.spans ?? this.table();
    const starts: number[] = [];
    const ends: number[] = [];
    let at = 0;
    for (let i = 0; i < skip; i++) at += charLength(this.text, at);
    let text = '';
    for (const [char, change] of changes) {
      const from = change > 0 ? at - 1 : at;
      const start = from < 0 ? this.origin : old.starts[from]!;
      const end = from < 0 ? this.origin : old.ends[from]!;
      if (change <= 0) for (let i = change; i <= 0; i++) at += charLength(this.text, at);
      text += char;
      for (let i = 0; i < char.length; i++) {
        starts.push(start);
        ends.push(end);
      }
    }
    return new AlignedText(text, this.origin, { starts, ends });
  }

  /** Keeps the characters for which `keep` holds. */
  filter(keep: (char: string) => boolean): AlignedText {
    const changes: [string, number][] = [];
    let skip = 0;
    let removed = 0;
    for (const char of this.text) {
      if (keep(char)) changes.push([char, 0]);
      else {
        removed += 1;
        const last = changes.at(-1);
        if (last) last[1] -= 1;
        else skip += 1;
      }
    }
    return removed === 0 ? this : this.transform(changes, skip);
  }

  /** Puts `prefix` before a text that is not empty; it gets the span of the first character. */
  prepend(prefix: string): AlignedText {
    if (this.text === '') return this;
    const { starts, ends } = this.spans ?? this.table();
    return new AlignedText(prefix + this.text, this.origin, {
      starts: [...Array.from(prefix, () => starts[0]!), ...starts],
      ends: [...Array.from(prefix, () => ends[0]!), ...ends],
    });
  }

  /** Replaces each match (`pattern` is global); the new characters get the span of the match's last one. */
  replace(pattern: RegExp, content: string): AlignedText {
    const old = this.spans ?? this.table();
    const starts: number[] = [];
    const ends: number[] = [];
    let text = '';
    let last = 0;
    const copy = (end: number): void => {
      text += this.text.slice(last, end);
      for (; last < end; last++) {
        starts.push(old.starts[last]!);
        ends.push(old.ends[last]!);
      }
    };
    for (const match of this.text.matchAll(pattern)) {
      copy(match.index);
      last = match.index + match[0].length;
      text += content;
      for (let i = 0; i < content.length; i++) {
        starts.push(last === 0 ? this.origin : old.starts[last - 1]!);
        ends.push(last === 0 ? this.origin : old.ends[last - 1]!);
      }
    }
    if (last === 0 && text === '') return this;
    copy(this.text.length);
    return new AlignedText(text, this.origin, { starts, ends });
  }

  private cutSpans(start: number, end: number): { starts: number[]; ends: number[] } | null {
    return this.spans && { starts: this.spans.starts.slice(start, end), ends: this.spans.ends.slice(start, end) };
  }

  /** The spans of a text that is still its own original. */
  private table(): { starts: number[]; ends: number[] } {
    const starts: number[] = [];
    const ends: number[] = [];
    let at = this.origin;
    for (const char of this.text) {
      for (let i = 0; i < char.length; i++) {
        starts.push(at);
        ends.push(at + char.length);
      }
      at += char.length;
    }
    return { starts, ends };
  }
}

/** Units of the character that starts at `at`. */
function charLength(text: string, at: number): number {
  return (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
}
