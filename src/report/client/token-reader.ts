/** Tokens of both texts: pointing at one, or walking to it, shows the candidates of both arms at its step. */
import { flowArms, type TokenFlow } from '../data/token-flow.ts';
import { candidatesAt } from '../page/token-flow.ts';

/** Make the tokens of a figure readable; a click or Enter keeps what is shown, Escape shows the flip again. */
export function readTokens(figure: HTMLElement, data: TokenFlow): void {
  const tokens = [...figure.querySelectorAll<HTMLElement>('[data-step][data-arm]')];
  let locked = false;
  const show = (step: number) => {
    for (const arm of flowArms) {
      const place = figure.querySelector(`[data-candidates="${arm}"]`);
      const token = data.arms[arm].find((each) => each.step === step);
      if (place) place.innerHTML = token ? candidatesAt(arm, token).toString() : '';
    }
    for (const token of tokens) token.classList.toggle('read', token.dataset.step === String(step));
  };
  const tokenOf = ({ target }: Event) =>
    target instanceof Element ? target.closest<HTMLElement>('[data-step][data-arm]') : null;
  const goTo = (token: HTMLElement | undefined) => {
    if (!token) return;
    for (const each of tokens) each.tabIndex = each === token ? 0 : -1;
    token.focus();
    show(Number(token.dataset.step));
  };
  figure.addEventListener('pointerover', (event) => {
    const token = tokenOf(event);
    if (token && !locked) show(Number(token.dataset.step));
  });
  figure.addEventListener('focusin', (event) => {
    const token = tokenOf(event);
    if (token) show(Number(token.dataset.step));
  });
  figure.addEventListener('click', (event) => {
    const token = tokenOf(event);
    locked = token !== null;
    if (token) goTo(token);
  });
  figure.addEventListener('keydown', (event) => {
    const at = tokens.findIndex((token) => token.matches(':focus'));
    if (at < 0) return;
    const { arm, step } = tokens[at].dataset;
    const own = tokens.filter((token) => token.dataset.arm === arm);
    const place = own.indexOf(tokens[at]);
    const other = tokens.filter((token) => token.dataset.arm !== arm);
    const target = {
      ArrowLeft: own[Math.max(0, place - 1)],
      ArrowRight: own[Math.min(own.length - 1, place + 1)],
      Home: own[0],
      End: own[own.length - 1],
      ArrowUp: other.find((token) => token.dataset.step === step),
      ArrowDown: other.find((token) => token.dataset.step === step),
      f: own.find((token) => token.dataset.step === String(data.flip?.step)),
    }[event.key];
    if (event.key === 'Enter') locked = true;
    else if (event.key === 'Escape') {
      locked = false;
      if (data.flip) show(data.flip.step);
    } else if (target) goTo(target);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}
