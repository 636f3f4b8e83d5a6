// SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef } from 'react'
import UPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { fieldLabel, languageTag } from '@/i18n'
import { useTheme } from '@/shell/theme'
import type { ChartProps } from './Chart'

const COLORS = ['blue', 'teal', 'purple', 'orange', 'green']

function token(name: string) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim()
}

function options({ series, format, max, height }: ChartProps, width: number): UPlot.Options {
  const text = token('--pf-t--global--text--color--subtle')
  const line = token('--pf-t--global--border--color--default')
  const axis = { stroke: text, grid: { stroke: line, width: 0.5 }, ticks: { show: false }, font: '12px RedHatText, sans-serif' }
  const clock = new Intl.DateTimeFormat(languageTag(), { hour: '2-digit', minute: '2-digit', hour12: false })
  const day = new Intl.DateTimeFormat(languageTag(), { month: 'short', day: 'numeric' })
  const exact = new Intl.DateTimeFormat(languageTag(), { dateStyle: 'short', timeStyle: 'medium', hour12: false })
  return {
    width,
    height: height ?? 180,
    cursor: { y: false, points: { size: 6 } },
    legend: { live: true },
    scales: { y: { range: (_u, _low, high) => [0, Math.max(max ?? 0, (high || 1) * 1.1)] } },
    axes: [
      { ...axis, values: (_u, splits, _i, _s, step) => splits.map((s) => (step >= 86400 ? day : clock).format(new Date(s * 1000))) },
      { ...axis, size: 70, values: (_u, splits) => splits.map(format) },
    ],
    series: [
      { label: fieldLabel('Event', 'time'), value: (_u, v) => (v ? exact.format(new Date(v * 1000)) : '–') },
      ...series.map((one, index) => {
        const name = COLORS[((one.color ?? index + 1) - 1) % COLORS.length]
        const color = token(`--pf-t--chart--color--${name}--300`) || token(`--pf-t--color--${name}--40`) || '#4394e5'
        return {
          label: one.label,
          stroke: color,
          width: 1.5,
          fill: series.length === 1 ? color + '22' : undefined,
          points: { show: false },
          spanGaps: false,
          value: (_u: UPlot, v: number | null) => (v === null || v === undefined ? '–' : format(v)),
        }
      }),
    ],
  }
}

export default function Plot(props: ChartProps) {
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<UPlot | undefined>(undefined)
  const theme = useTheme()
  const data = [props.times, ...props.series.map((one) => one.values)] as UPlot.AlignedData
  const shape = JSON.stringify([props.series.map((one) => [one.label, one.color]), props.max, props.height, theme])

  useEffect(() => {
    const element = box.current!
    const made = (plot.current = new UPlot(options(props, element.clientWidth || 400), data, element))
    const observer = new ResizeObserver(() => element.clientWidth && made.setSize({ width: element.clientWidth, height: props.height ?? 180 }))
    observer.observe(element)
    return () => {
      observer.disconnect()
      made.destroy()
      plot.current = undefined
    }
    // Data alone goes into the plot that is there; anything else makes a new one.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [shape])
  useEffect(() => plot.current?.setData(data))
  return <div ref={box} />
}
