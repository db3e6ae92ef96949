import OpenAI from 'openai'
import { toResponseInputItems } from 'openai/lib/responses/ResponseInputItems'

const model = 'parley-demo'
const tale = '[[text=很久以前，海边有一座灯塔。]]'
const long = '[[tokens=120 pace=0.004]]'
const weather = {
  type: 'function',
  name: 'weather',
  description: 'The weather of a place',
  parameters: {
    type: 'object',
    properties: { place: { type: 'string' } },
    required: ['place'],
    additionalProperties: false,
  },
  strict: true,
}

async function all(stream) {
  const events = []
  for await (const event of stream) events.push(event)
  return events
}

export async function whole() {
  const client = new OpenAI()
  const answer = await client.responses.create({ model, input: tale })
  return { answer, again: await client.responses.retrieve(answer.id) }
}

export async function streamed() {
  return all(await new OpenAI().responses.create({ model, input: tale, stream: true }))
}

export async function helper() {
  const pieces = []
  const stream = new OpenAI().responses.stream({ model, input: tale })
  stream.on('response.output_text.delta', (event) => pieces.push(event.delta))
  return { final: await stream.finalResponse(), pieces }
}

export async function background() {
  const client = new OpenAI()
  const begun = await client.responses.create({ model, input: long, background: true })
  const events = await all(await client.responses.retrieve(begun.id, { stream: true }))
  const rest = await all(
    await client.responses.retrieve(begun.id, { stream: true, starting_after: 9 }),
  )
  let answer = begun
  while (answer.status === 'in_progress') answer = await client.responses.retrieve(begun.id)
  return { begun, events, rest, answer }
}

/** Leaves a stream in its middle, and comes back. */
export async function interruption() {
  const client = new OpenAI()
  const events = []
  for await (const event of await client.responses.create({ model, input: long, stream: true })) {
    events.push(event)
    if (event.type === 'response.output_text.delta') break
  }
  const after = { stream: true, starting_after: events.at(-1).sequence_number }
  const rest = await client.responses.retrieve(events[0].response.id, after)
  return [...events, ...(await all(rest))]
}

export async function cancellation() {
  const client = new OpenAI()
  const begun = await client.responses.create({
    model,
    input: '[[tokens=3000 pace=0.01]]',
    background: true,
  })
  const stopped = await client.responses.cancel(begun.id)
  return { stopped, again: await client.responses.cancel(begun.id) }
}

export async function tools() {
  const client = new OpenAI()
  const stream = client.responses.stream({
    model,
    input: 'How is it there? [[call=weather args={"place":"青岛"}]]',
    tools: [weather],
  })
  const asked = await stream.finalResponse()
  const output = {
    type: 'function_call_output',
    call_id: asked.output[0].call_id,
    output: '[[text=Fog.]]',
  }
  // The helpers add what they have parsed to the items; this takes it out again.
  const said = toResponseInputItems(asked.output)
  const input = [{ role: 'user', content: 'How is it there?' }, ...said, output]
  const answer = await client.responses.create({ model, input, tools: [weather], store: false })
  return { asked, answer }
}

export async function conversation() {
  const client = new OpenAI()
  const made = await client.conversations.create({ metadata: { topic: 'harbours' } })
  const answer = await client.responses.create({
    model,
    input: '[[text=hello]]',
    conversation: made.id,
  })
  const items = await all(client.conversations.items.list(made.id, { order: 'asc', limit: 1 }))
  const input = await all(client.responses.inputItems.list(answer.id))
  await client.conversations.delete(made.id)
  return { made, items, input }
}

export async function errors() {
  const client = new OpenAI({ maxRetries: 0 })
  const told = async (request) => {
    try {
      await request
    } catch ({ constructor, status, code, param }) {
      return [constructor.name, status, code, param]
    }
  }
  return Promise.all([
    told(client.responses.create({ model: 'gpt-9', input: 'hi' })),
    told(client.responses.create({ model, input: 'hi', temperature: 3 })),
    told(client.responses.create({ model, input: 'hi', temperature: 3, stream: true })),
    told(client.responses.retrieve('resp_0')),
    told(new OpenAI({ apiKey: 'pk_wrong' }).responses.retrieve('resp_0')),
  ])
}
