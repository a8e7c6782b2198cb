// The work of a worker: one chunk of the file.

const text = new TextDecoder();

/** Counts and adds up the orders of each country. `lines` holds one JSON object per line. */
export function sumUp(piece) {
  const sums = new Map();
  let lines = 0;
  let invalid = 0;
  for (const line of text.decode(piece).split("\n")) {
    if (line === "") continue;
    lines += 1;
    try {
      const { country, amount } = JSON.parse(line);
      const sum = sums.get(country) ?? { count: 0, amount: 0 };
      sums.set(country, { count: sum.count + 1, amount: sum.amount + amount });
    } catch {
      invalid += 1;
    }
  }
  return { lines, invalid, sums };
}
