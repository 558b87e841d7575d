// What a measured figure is, and the arithmetic that all of them share.

/** Samples of one run, beside the samples of the floor that was measured between them. */
export type Measured = {
  readonly values: readonly number[];
  /** What it is measured beside is not here, and why: the bound is missed. */
  readonly missing?: string;
  readonly floor?: { readonly name: string; readonly values: readonly number[] };
  /** What a reader should know: percentiles, parts, sizes. */
  readonly note?: string;
  /** Samples of figures that were measured on the way, by name; those that `also` names and this does not have the same. */
  readonly also?: Readonly<Record<string, Measured>>;
};

export type Bound = {
  /** The figure's middle over the floor's; the floor's over the figure's, how many times better it is; its own `at`. */
  readonly of: 'ratio' | 'lead' | 'value';
  readonly at: 'median' | 'max';
  readonly better: 'lower' | 'higher';
  readonly limit: number;
};

/** What is judged. */
export type Judged = {
  readonly name: string;
  readonly unit: string;
  readonly doc: string;
  /** None: it is only told. */
  readonly bound?: Bound;
};

export type Figure = Judged & {
  readonly measure: (bench: Bench) => Promise<Measured>;
  /** Figures that the same measurement gives. */
  readonly also?: readonly Judged[];
};

/** What a figure may use. */
export type Bench = {
  /** An empty private folder, gone after the run. */
  readonly dir: string;
  /** Where the fixture is kept between runs. */
  readonly cacheDir: string;
  /** How often to repeat; each figure takes it as its scale. */
  readonly runs: number;
  /** True: a short look; long waits and large amounts are cut. */
  readonly quick: boolean;
  readonly program: string;
  /** Says on stderr what goes on. */
  readonly say: (line: string) => void;
};

export type FigureResult = {
  readonly name: string;
  readonly unit: string;
  readonly runs: number;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly floor?: { readonly name: string; readonly median: number };
  readonly ratio?: number;
  /** Absent where there is no bound. */
  readonly target?: string;
  readonly holds?: boolean;
  readonly note?: string;
};

/** The value below which the share `at` of the samples lies; 0.5 is the median. */
export const quantile = (values: readonly number[], at: number): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(at * sorted.length) - 1))] ?? Number.NaN;
};

/** Three significant digits, as text. */
export const short = (value: number): string =>
  Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en-GB') : String(Number(value.toPrecision(3)));

/** Nothing was measured. Where it says that it does not hold, that counts as missed. */
export type Skipped = { readonly name: string; readonly skipped: string; readonly holds?: false };
export type Row = FigureResult | Skipped;

/** Judges samples by the figure's bound, where it has one. */
export const judge = ({ name, unit, bound }: Judged, { values, missing, floor, note }: Measured): Row => {
  if (missing !== undefined) return { name, skipped: missing, holds: false };
  const median = quantile(values, 0.5);
  const beside = floor === undefined ? undefined : quantile(floor.values, 0.5);
  const ratio = beside === undefined ? undefined : bound?.of === 'lead' ? beside / median : median / beside;
  return {
    name,
    unit,
    runs: values.length,
    median: round(median),
    min: round(Math.min(...values)),
    max: round(Math.max(...values)),
    ...(floor === undefined ? {} : { floor: { name: floor.name, median: round(quantile(floor.values, 0.5)) } }),
    ...(ratio === undefined ? {} : { ratio: round(ratio) }),
    ...(bound === undefined ? {} : verdict(bound, values, ratio)),
    ...(note === undefined ? {} : { note }),
  };
};

const verdict = ({ of, at, better, limit }: Bound, values: readonly number[], ratio: number | undefined) => {
  const own = at === 'max' ? Math.max(...values) : quantile(values, 0.5);
  const judged = of === 'value' ? own : (ratio ?? Number.NaN);
  return {
    target: `${of === 'value' ? at : of} ${better === 'lower' ? '≤' : '≥'} ${limit}`,
    holds: better === 'lower' ? judged <= limit : judged >= limit,
  };
};

/** Milliseconds that `step` takes. */
export const timed = async (step: () => Promise<unknown> | unknown): Promise<number> => {
  const startedAt = performance.now();
  await step();
  return performance.now() - startedAt;
};

/** How long named steps take. */
export class Times {
  readonly #of = new Map<string, number[]>();

  /** Times a step; a round before the first, 0, warms up and does not count. */
  async take(name: string, round: number, step: () => Promise<unknown> | unknown): Promise<void> {
    const ms = await timed(step);
    if (round < 0) return;
    const times = this.#of.get(name) ?? [];
    times.push(ms);
    this.#of.set(name, times);
  }

  /** The p95 of each step, the worst of which is the figure. */
  worst(): Measured {
    const p95 = [...this.#of]
      .map(([name, values]) => [name, quantile(values, 0.95)] as const)
      .sort((a, b) => b[1] - a[1]);
    const told = p95.slice(0, 3).map(([name, ms]) => `${name}: ${short(ms)}`);
    const all = [...this.#of.values()].flat();
    return {
      values: p95.map(([, ms]) => ms),
      note: `p95 of each of ${p95.length} queries; slowest ${told.join(' · ')}; median of all ${short(quantile(all, 0.5))}`,
    };
  }
}

const round = (value: number): number => Number(value.toPrecision(4));
