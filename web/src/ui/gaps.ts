// SPDX-License-Identifier: Apache-2.0

/** The points with a gap wherever nothing is known, so that no line is drawn over it. */
export function withGaps(times: number[], lists: number[][], step: number): { times: number[]; lists: (number | null)[][] } {
  const out: { times: number[]; lists: (number | null)[][] } = { times: [], lists: lists.map(() => []) }
  times.forEach((time, index) => {
    if (index && time - times[index - 1] > 2 * step) {
      out.times.push(times[index - 1] + step)
      out.lists.forEach((list) => list.push(null))
    }
    out.times.push(time)
    lists.forEach((list, at) => out.lists[at].push(list[index] ?? null))
  })
  return out
}
