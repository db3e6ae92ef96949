/** A WebSocket that a test opens, drops and speaks through. */
export class FakeSocket {
  onopen: (() => void) | null = null
  onclose: (() => void) | null = null
  onmessage: ((event: { data: unknown }) => void) | null = null
  readyState = 0
  readonly sent: unknown[] = []

  send(text: string): void {
    this.sent.push(JSON.parse(text))
  }

  close(): void {
    this.readyState = 3
    this.onclose?.()
  }

  accept(): void {
    this.readyState = 1
    this.onopen?.()
  }

  drop(): void {
    this.close()
  }

  say(frame: string): void {
    this.onmessage?.({ data: frame })
  }
}

export class FakeSockets {
  readonly all: FakeSocket[] = []

  readonly connect = (): WebSocket => {
    const socket = new FakeSocket()
    this.all.push(socket)
    return socket as unknown as WebSocket
  }

  get last(): FakeSocket {
    return this.all.at(-1)!
  }
}
