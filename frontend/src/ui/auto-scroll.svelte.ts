const BOTTOM_THRESHOLD_PX = 48

/**
 * Keeps a growing transcript scrolled to the bottom, but only for a reader who is there: scrolling
 * up releases it, scrolling back to the bottom resumes it.
 */
export class AutoScroll {
  isFollowing = $state(true)
  #scroller: HTMLElement | null = null
  #top = 0

  readonly attach = (scroller: HTMLElement): (() => void) => {
    this.#scroller = scroller
    const content = scroller.firstElementChild
    const observer = new ResizeObserver(() => this.#handleResize())
    observer.observe(scroller)
    if (content !== null) observer.observe(content)
    const onscroll = (): void => this.#handleScroll()
    const onwheel = ({ deltaY }: WheelEvent): void => this.#handleWheel(deltaY)
    scroller.addEventListener('scroll', onscroll, { passive: true })
    scroller.addEventListener('wheel', onwheel, { passive: true })
    return () => {
      observer.disconnect()
      scroller.removeEventListener('scroll', onscroll)
      scroller.removeEventListener('wheel', onwheel)
      this.#scroller = null
    }
  }

  scrollToBottom(smooth = false): void {
    const scroller = this.#scroller
    this.isFollowing = true
    if (scroller === null) return
    scroller.scrollTo({ top: scroller.scrollHeight, behavior: smooth ? 'smooth' : 'instant' })
    this.#top = scroller.scrollTop
  }

  #handleResize(): void {
    if (this.isFollowing) this.scrollToBottom()
  }

  /** Releases before the first scroll event: wheel scrolling is smooth, and growth would undo its start. */
  #handleWheel(delta: number): void {
    const { scrollHeight = 0, clientHeight = 0 } = this.#scroller ?? {}
    if (delta < 0 && scrollHeight > clientHeight) this.isFollowing = false
  }

  #handleScroll(): void {
    const scroller = this.#scroller
    if (scroller === null) return
    const isUp = scroller.scrollTop < this.#top - 1
    this.#top = scroller.scrollTop
    const distance = scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop
    if (isUp) this.isFollowing = this.isFollowing && distance < 2
    else if (distance < BOTTOM_THRESHOLD_PX) this.isFollowing = true
  }
}
