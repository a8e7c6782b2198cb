import { describe, expect, test } from "vitest";
import { computeAnswer } from "../src/wire/auth.ts";

/** Keys, challenges and answers of Python (`_create_response()` in 3.13, `answer_challenge()` in 3.11), as hex. */
const VECTORS = [
  ["e3b0c44298fc1c", "000102030405060708090a0b0c0d0e0f10111213", "8f1da625cf309acb931f8e1725558f0b"],
  [
    "b4db45a7df7cfb",
    "7b6d64357dc8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeef",
    "7b6d64357d4fc89bd2328505a694863f95d57ac88a",
  ],
  [
    "69fe8e43550430",
    "7b7368613235367dc8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeef",
    "7b7368613235367d42ba5a9ce8e7a197cff04dbafeeecc2f9be8b081bc8b181d9b261c759de17116",
  ],
  [
    "c4ed860a4a5ab7",
    "7b7368613338347dc8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeef",
    "7b7368613338347d00c5823bae53ec02691049f3db92f2317b6e528e37ed376f241a263a696bc2407f85dfac4a44e3aaf7c65c1d57a7956a",
  ],
  [
    "68cf2941226f68",
    "7b736861335f3235367dc8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeef",
    "7b736861335f3235367d2b62588cf8ace3e34dc9f92a68248bdd2a6f9698f2aae558fa8b481cf76cc04b",
  ],
  [
    "c758603264859b",
    "7b736861335f3338347dc8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeef",
    "7b736861335f3338347d04137e3cee851cf889d01fd9ce02f473989f8766db518d71b1af65fea3f6823ebfa9be5a7470474782bb22165a65262b",
  ],
] as const;

const bytes = (hex: string): Uint8Array => Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
const hex = (data: Uint8Array): string => [...data].map((byte) => byte.toString(16).padStart(2, "0")).join("");

describe("the answer to a challenge of the handshake", () => {
  test("is the same as Python's, for every digest", async () => {
    for (const [key, challenge, answer] of VECTORS) {
      expect(hex(await computeAnswer(bytes(key), bytes(challenge)))).toBe(answer);
    }
  });

  test("is refused for a challenge without a known digest", async () => {
    const key = Uint8Array.of(1);
    for (const text of [
      "{sha1}0123456789abcdefghij",
      "no digest is named here",
      "{}0123456789abcdefghij",
      "{sha2560123456789abcdef",
      "short",
    ])
      await expect(computeAnswer(key, new TextEncoder().encode(text))).rejects.toThrow("the peer");
  });
});
