const NEAR_PX = 48

/**
 * Keeps a growing list at its end, but only for a reader who is there: scrolling up lets go,
 * coming back to the end takes hold again.
 */
export class Follow {
  following = $state(true)
  #scroller: HTMLElement | null = null
  #top = 0

  readonly attach = (scroller: HTMLElement): (() => void) => {
    this.#scroller = scroller
    const content = scroller.firstElementChild
    const observer = new ResizeObserver(() => this.#grown())
    observer.observe(scroller)
    if (content !== null) observer.observe(content)
    const scrolled = (): void => this.#scrolled()
    const wheeled = ({ deltaY }: WheelEvent): void => this.#wheeled(deltaY)
    scroller.addEventListener('scroll', scrolled, { passive: true })
    scroller.addEventListener('wheel', wheeled, { passive: true })
    return () => {
      observer.disconnect()
      scroller.removeEventListener('scroll', scrolled)
      scroller.removeEventListener('wheel', wheeled)
      this.#scroller = null
    }
  }

  toEnd(smooth = false): void {
    const scroller = this.#scroller
    this.following = true
    if (scroller === null) return
    scroller.scrollTo({ top: scroller.scrollHeight, behavior: smooth ? 'smooth' : 'instant' })
    this.#top = scroller.scrollTop
  }

  #grown(): void {
    if (this.following) this.toEnd()
  }

  /** Before the first scroll event: a wheel scrolls smoothly, and growth would undo its start. */
  #wheeled(delta: number): void {
    const { scrollHeight = 0, clientHeight = 0 } = this.#scroller ?? {}
    if (delta < 0 && scrollHeight > clientHeight) this.following = false
  }

  #scrolled(): void {
    const scroller = this.#scroller
    if (scroller === null) return
    const up = scroller.scrollTop < this.#top - 1
    this.#top = scroller.scrollTop
    const rest = scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop
    if (up) this.following = this.following && rest < 2
    else if (rest < NEAR_PX) this.following = true
  }
}
