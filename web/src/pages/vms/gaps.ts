// SPDX-License-Identifier: Apache-2.0

/** Moments of which nothing is known have no point; a line must not lead over them as if it knew. */
export function withGaps(times: number[], step: number, lists: (number[] | undefined)[]) {
  const outTimes: number[] = []
  const values: (number | null)[][] = lists.map(() => [])
  times.forEach((time, i) => {
    if (i && time - times[i - 1] > 1.5 * step) {
      outTimes.push(times[i - 1] + step)
      values.forEach((list) => list.push(null))
    }
    outTimes.push(time)
    values.forEach((list, k) => list.push(lists[k]?.[i] ?? null))
  })
  return { times: outTimes, values }
}
