import OpenAI from 'openai'
import { ResponsesWS } from 'openai/resources/responses/ws'

const model = 'parley-demo'
const endings = new Set(['response.completed', 'response.incomplete', 'response.failed', 'error'])

/** The events of so many answers. */
async function answers(socket, count) {
  const all = [[]]
  for await (const { message, error } of socket) {
    if (error && !error.error) throw error
    const event = message ?? error?.error // an event that is an error comes as one
    if (!event) continue
    all.at(-1).push(event)
    if (!endings.has(event.type)) continue
    if (all.length === count) break
    all.push([])
  }
  return all
}

export async function queue() {
  const socket = new ResponsesWS(new OpenAI())
  for (const name of ['one', 'two', 'three']) {
    socket.send({ type: 'response.create', model, input: `[[text=${name}]]`, stream_id: name })
  }
  const seen = await answers(socket, 3)
  socket.close()
  return seen
}

export async function continuation() {
  const socket = new ResponsesWS(new OpenAI())
  socket.send({
    type: 'response.create',
    model,
    input: '[[text=noted]] The word is basil.',
    store: false,
  })
  const [first] = await answers(socket, 1)
  const id = first.at(-1).response.id
  socket.send({
    type: 'response.create',
    model,
    input: 'Which?',
    store: false,
    previous_response_id: id,
  })
  const [second] = await answers(socket, 1)
  socket.close()
  return [first.at(-1), second.at(-1)]
}

export async function reconnection() {
  const seen = []
  const codes = []
  const socket = new ResponsesWS(new OpenAI(), {
    reconnect: {
      initialDelay: 10,
      onReconnecting({ closeCode }) {
        codes.push(closeCode)
        return {
          parameters: { resume: seen[0].response.id, starting_after: seen.at(-1).sequence_number },
        }
      },
    },
  })
  socket.send({ type: 'response.create', model, input: '[[tokens=120 pace=0.004]]' })
  for await (const { type, message } of socket) {
    if (type !== 'message') continue
    seen.push(message)
    if (endings.has(message.type)) break
  }
  socket.close()
  return { seen, codes }
}

export async function cancelling() {
  const client = new OpenAI()
  const socket = new ResponsesWS(client)
  socket.send({ type: 'response.create', model, input: '[[tokens=3000 pace=0.01]]' })
  let id, stopped
  for await (const { type, message } of socket) {
    if (type !== 'message') continue
    if (message.type === 'response.created') id = message.response.id
    if (message.type === 'response.output_text.delta') stopped ??= client.responses.cancel(id)
    if (!endings.has(message.type)) continue
    socket.close()
    return { last: message, stopped: await stopped }
  }
}

export async function refusal() {
  const socket = new ResponsesWS(new OpenAI())
  const errors = []
  socket.on('error', (error) => errors.push(error.error))
  socket.send({ type: 'response.create', model: 'gpt-9', input: 'hi' })
  socket.send({ type: 'response.create', model, input: '[[text=still here]]' })
  const seen = await answers(socket, 2)
  socket.close()
  return { errors, last: seen[1].at(-1) }
}
