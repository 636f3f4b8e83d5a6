// SPDX-License-Identifier: Apache-2.0
import { lazy, Suspense } from 'react'
import { Loading } from './Empty'

export interface Series {
  label: string
  /** As many as there are times; null where nothing is known. */
  values: (number | null)[]
  /** 1 to 5: which of the theme's colours; default by position. */
  color?: number
}

export interface ChartProps {
  /** Seconds since 1970, ascending. */
  times: number[]
  series: Series[]
  /** How values are written, at the axis and in the legend. */
  format: (value: number) => string
  /** The top of the axis at least; e.g. the memory that there is. */
  max?: number
  height?: number
  /** What it shows, for those who cannot see it. */
  label: string
}

const Plot = lazy(() => import('./Plot'))

/** Lines over time. The library that draws them is loaded when the first one is shown. */
export function Chart(props: ChartProps) {
  return (
    <div className="tarn-chart" role="img" aria-label={props.label}>
      <Suspense fallback={<Loading />}>
        <Plot {...props} />
      </Suspense>
    </div>
  )
}
