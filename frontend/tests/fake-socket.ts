/** A WebSocket that a test opens, closes and sends frames through. */
export class FakeSocket {
  onopen: (() => void) | null = null
  onclose: ((event: { code: number }) => void) | null = null
  onmessage: ((event: { data: unknown }) => void) | null = null
  readyState = 0
  readonly sent: unknown[] = []
  readonly url: string

  constructor(url: string) {
    this.url = url
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text))
  }

  close(code = 1000): void {
    if (this.readyState === 3) return
    this.readyState = 3
    this.onclose?.({ code })
  }

  accept(): void {
    this.readyState = 1
    this.onopen?.()
  }

  /** Closes abnormally (1006): the connection was lost or refused. */
  drop(): void {
    this.close(1006)
  }

  receive(frame: string): void {
    this.onmessage?.({ data: frame })
  }
}

export class FakeSockets {
  readonly all: FakeSocket[] = []

  readonly connect = (url: string): WebSocket => {
    const socket = new FakeSocket(url)
    this.all.push(socket)
    return socket as unknown as WebSocket
  }

  get last(): FakeSocket {
    return this.all.at(-1)!
  }
}
