/** The benchmark page: medians, a table and a plot for each case. */

const OURS = /^(multiproc|fork server)/;
/** Units where less is better. */
const COSTS = ["ms", "ns"];

/**
 * Returns the contenders of each case, the best first. Contenders without values come last, with their note.
 *
 * @param {{ case: string, who: string, unit: string, values: (number | null)[], note?: string,
 *   machine: string }[]} rows
 */
export function summaries(rows) {
  return [...new Set(rows.map((row) => row.case))].map((name) => summary(name, rows));
}

function summary(name, rows) {
  const all = rows
    .filter((row) => row.case === name)
    .map(({ who, values, note = "not run" }) => ({ who, note, ...spread(values.filter(Number.isFinite)) }));
  const [{ unit, machine }] = rows.filter((row) => row.case === name);
  const fewer = COSTS.includes(unit);
  const ranked = all
    .filter(({ rounds }) => rounds > 0)
    .sort((a, b) => (fewer ? a.median - b.median : b.median - a.median));
  const own = ranked.find(({ who }) => OURS.test(who));
  const ratio = ({ median }) => (own === undefined ? Number.NaN : fewer ? median / own.median : own.median / median);
  const contenders = [
    ...ranked.map((each) => ({ ...each, ratio: ratio(each) })),
    ...all.filter(({ rounds }) => rounds === 0).map((each) => ({ ...each, ratio: Number.NaN })),
  ];
  return { name, unit, machine, fewer, contenders };
}

/** Returns the median (the mean of the middle two for an even number of rounds), the minimum and the maximum. */
export function spread(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return { rounds: sorted.length, least: sorted[0], median: (middle[0] + middle[1]) / 2, most: sorted.at(-1) };
}

/** @param {ReturnType<typeof summaries>} cases */
export function report(cases) {
  const machines = [...new Set(cases.map(({ machine }) => machine))];
  const counts = cases.flatMap(({ contenders }) => contenders.map(({ rounds }) => rounds)).filter((count) => count > 0);
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  const named = machines.length === 1 ? machines : machines.map((machine, i) => `${i + 1}. ${machine}`);
  return [
    "# Benchmarks",
    "",
    ...named,
    "",
    `Medians of ${least === most ? least : `${least} to ${most}`} rounds, in which the contenders took turns, with the minimum and the maximum. The last column is how many times as`,
    "fast ours was; below 1 we lose. Pools and pipes are warmed up before they are measured: the first thousands of calls and",
    "messages take ten times as long, until the engine has compiled them. `npm run bench` writes this page.",
    "",
    ...cases.flatMap((each) => [...table(each, machines), ""]),
  ]
    .join("\n")
    .replace(/\n+$/, "\n");
}

function table({ name, unit, fewer, machine, contenders }, machines) {
  const lines = [`## ${name}`, "", `![${name}](${slug(name)}.svg)`, ""];
  if (machines.length > 1) lines.push(`On machine ${machines.indexOf(machine) + 1}.`, "");
  lines.push(`| ${unit}${fewer ? ", fewer are better" : ""} | median | least to most | ours |`);
  lines.push("| --- | ---: | ---: | ---: |");
  for (const { who, rounds, note, median, least, most, ratio } of contenders) {
    const last = OURS.test(who) || Number.isNaN(ratio) ? "" : `${ratio.toFixed(2)} ×`;
    lines.push(
      rounds === 0
        ? `| ${who} | ${note} |  |  |`
        : `| ${who} | ${shown(median)} | ${shown(least)} – ${shown(most)} | ${last} |`,
    );
  }
  return lines;
}

/** Draws a bar for each contender, with a line from the minimum to the maximum of its rounds. */
export function plot({ name, unit, contenders }) {
  const [left, width, step] = [230, 420, 30];
  const height = 60 + contenders.length * step;
  const scale = width / Math.max(...contenders.map(({ most = 0 }) => most));
  const bars = contenders.map(({ who, rounds, note, median, least, most }, i) => {
    const y = 44 + i * step;
    const label = `<text x="${left - 10}" y="${y + 14}" text-anchor="end">${escaped(who)}</text>`;
    if (rounds === 0) return `${label}\n<text x="${left}" y="${y + 14}" fill="#6b7280">${escaped(note)}</text>`;
    return `${label}
<rect x="${left}" y="${y}" width="${(median * scale).toFixed(1)}" height="18" fill="${OURS.test(who) ? "#2563eb" : "#9ca3af"}"/>
<path d="M${(left + least * scale).toFixed(1)} ${y + 9}H${(left + most * scale).toFixed(1)}" stroke="#111827"/>
<text x="${(left + most * scale + 8).toFixed(1)}" y="${y + 14}">${shown(median)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 ${height}" font-family="sans-serif" font-size="13" role="img">
<title>${escaped(name)}</title>
<rect width="760" height="${height}" fill="#ffffff"/>
<text x="20" y="24" font-size="15" font-weight="bold">${escaped(name)}, ${escaped(unit)}</text>
${bars.join("\n")}
</svg>
`;
}

function shown(value) {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (value >= 10_000) return `${(value / 1e3).toFixed(0)} k`;
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

export function slug(name) {
  return name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
}
