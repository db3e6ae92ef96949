import { parseEvent, type ServerEvent } from '../src/api/events'

const files = import.meta.glob<string>('../../tests/contract/golden/*.jsonl', {
  query: '?raw',
  import: 'default',
  eager: true,
})

/** The frames of a story, byte for byte as the gateway sends them; its own tests verify them. */
export function frames(story: string): readonly string[] {
  const text = files[`../../tests/contract/golden/${story}.jsonl`]
  if (text === undefined) throw new Error(`no story ${story}`)
  return text.trimEnd().split('\n')
}

export function storyEvents(story: string): readonly ServerEvent[] {
  return frames(story).map((frame) => {
    const event = parseEvent(frame)
    if (event === null) throw new Error(`not an event: ${frame}`)
    return event
  })
}

export const stories = Object.keys(files).map((path) => /([^/]+)\.jsonl$/.exec(path)![1]!)
