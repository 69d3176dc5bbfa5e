// What cannot be drawn is left out, with a word in its place, and everything around it goes on: what the other side sent
// never decides whether the rest of the page works.

import { Component } from 'preact';
import type { ComponentChildren } from 'preact';

interface Props {
  /** Stands there once something inside has thrown, until the page draws this place anew. */
  instead: ComponentChildren;
  children: ComponentChildren;
}

export class Boundary extends Component<Props, { failed: boolean }> {
  override state = { failed: false };

  static override getDerivedStateFromError = () => ({ failed: true });

  override componentDidCatch(error: unknown): void {
    console.warn(error);
  }

  override render({ instead, children }: Props, { failed }: { failed: boolean }) {
    return failed ? instead : children;
  }
}
