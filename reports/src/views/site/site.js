// Filters, sorting and ages. The pages are readable without this script, and it fetches nothing.
'use strict';
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const day = 24 * 60 * 60 * 1000;

  // Ages of results, which depend on the day of reading.
  const age = (text) => {
    const days = Math.floor((Date.now() - Date.parse(text)) / day);
    if (!(days >= 0)) return '';
    return days === 0 ? 'today' : days === 1 ? '1 day ago' : `${days} days ago`;
  };
  for (const time of all('time')) {
    const words = age(time.dateTime);
    if (words) time.title = words;
  }
  for (const link of all('td > a[aria-label]')) {
    const name = link.getAttribute('aria-label');
    const measured = /measured (\d{4}-\d\d-\d\d)$/.exec(name);
    const words = measured && age(measured[1]);
    if (words) link.setAttribute('aria-label', `${name}, ${words}`);
  }
  // Shows a link's accessible name as a tooltip.
  document.addEventListener('pointerover', (event) => {
    const link = event.target.closest?.('td > a[aria-label]');
    if (link && !link.title) link.title = link.getAttribute('aria-label');
  });

  // The state is in the address after `#?`; no anchor of a page begins with `?`.
  const state = new URLSearchParams(location.hash.startsWith('#?') ? location.hash.slice(2) : '');
  const keep = () => {
    const text = state.toString();
    history.replaceState(null, '', text ? `#?${text}` : location.pathname + location.search);
  };

  // Sorting, with a button in each column head.
  const order = ['s', 'p', 'o', 'u', 'i', 't', 'n'];
  const key = (row, column) => {
    const cell = row.cells[column];
    if (!cell) return [2, ''];
    const mark = cell.querySelector(':scope > a[class]') ?? (cell.className === 'n' ? cell : null);
    if (mark && !cell.closest('.answers')) return [0, order.indexOf(mark.className[0])];
    const text = cell.textContent.trim();
    return text === '' ? [2, ''] : [1, text];
  };
  const compare = ([a, one], [b, other]) =>
    a - b || (typeof one === 'number' ? one - other : one.localeCompare(other, 'en', { numeric: true }));
  const sort = (table, column, descending) => {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row, place) => ({ row, place, key: key(row, column) }));
    // Empty cells stay last.
    const last = (one) => one.key[0] === 2;
    rows.sort((a, b) => last(a) - last(b) || (descending ? -1 : 1) * compare(a.key, b.key) || a.place - b.place);
    body.append(...rows.map(({ row }) => row));
    for (const [place, head] of [...table.tHead.rows[0].cells].entries()) {
      const sorted = place === column;
      if (sorted) head.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
      else head.removeAttribute('aria-sort');
      const button = head.querySelector('button');
      if (button) button.textContent = sorted ? (descending ? '▾' : '▴') : '↕';
    }
  };
  for (const table of all('table.sortable')) {
    for (const [column, head] of [...table.tHead.rows[0].cells].entries()) {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = '↕';
      button.setAttribute('aria-label', `Sort by ${head.textContent.trim()}`);
      button.addEventListener('click', () => {
        const descending = head.getAttribute('aria-sort') === 'ascending';
        sort(table, column, descending);
        state.set('sort', `${table.id}.${column}.${descending ? 'down' : 'up'}`);
        keep();
      });
      head.append(' ', button);
    }
  }

  // Filters: a row is shown if it matches every filter that applies to it.
  const form = document.getElementById('filters');
  const rows = all('main table.sortable > tbody > tr, main ul.names > li').map((row) => ({
    row,
    text: (row.querySelector('th') ?? row).textContent.toLowerCase(),
    table: row.closest('table'),
  }));
  const filter = () => {
    const { profile, arch, in: environment, state: mark, text } = Object.fromEntries(state);
    const words = (text ?? '').toLowerCase().split(/\s+/).filter(Boolean);
    // Shows only the chosen profile's columns in tables of answers.
    for (const table of all('table.answers')) {
      const heads = [...table.tHead.rows[0].cells];
      for (const row of [...table.tHead.rows, ...table.tBodies[0].rows]) {
        for (const [place, cell] of [...row.cells].entries()) {
          const own = heads[place]?.dataset.profile;
          cell.hidden = Boolean(profile && own && own !== profile);
        }
      }
    }
    for (const part of all('main section[data-profile], main details[data-profile]')) {
      part.hidden = Boolean(profile && part.dataset.profile !== profile);
      if (profile && !part.hidden && part.localName === 'details') part.open = true;
    }
    for (const part of all('main details.ended:has(table.answers)')) {
      const has = (head) => head.dataset.profile === profile;
      part.hidden = Boolean(profile && !all('th', part).some(has));
      if (profile && !part.hidden) part.open = true;
    }
    let shown = 0;
    for (const { row, text: own, table } of rows) {
      const fits =
        (!arch || !row.dataset.arch || row.dataset.arch === arch) &&
        (!environment || !row.dataset.in || row.dataset.in === environment) &&
        (!mark || !table || row.querySelector(`td:not([hidden]) > a.${CSS.escape(mark)}`) !== null) &&
        words.every((word) => own.includes(word));
      row.hidden = !fits;
      if (fits && table && !row.closest('[hidden]')) shown += 1;
    }
    return shown;
  };
  const show = () => {
    const shown = filter();
    const count = rows.filter(({ table }) => table).length;
    const status = form?.querySelector('[role=status]');
    if (status) status.textContent = `${shown} of ${count} rows`;
  };
  const apply = () => {
    const [, table, column, direction] = /^(.+)\.(\d+)\.(up|down)$/.exec(state.get('sort') ?? '') ?? [];
    const sorted = table && document.getElementById(table);
    if (sorted?.matches('table.sortable') && sorted.tHead.rows[0].cells[column]) sort(sorted, Number(column), direction === 'down');
    if (!form) return;
    for (const field of form.elements) {
      if (!field.name) continue;
      field.value = state.get(field.name) ?? '';
      // Drops a value that this site does not have.
      if (field.value !== (state.get(field.name) ?? '')) { field.value = ''; state.delete(field.name); }
    }
    // Drops a filter that this site does not have.
    for (const name of [...state.keys()]) {
      if (name !== 'sort' && !form.elements.namedItem(name)) state.delete(name);
    }
    show();
  };
  if (form) {
    form.hidden = false;
    form.addEventListener('submit', (event) => event.preventDefault());
    form.addEventListener('input', (event) => {
      const { name, value } = event.target;
      if (value) state.set(name, value);
      else state.delete(name);
      keep();
      show();
    });
    form.addEventListener('reset', () => {
      for (const name of [...state.keys()]) state.delete(name);
      setTimeout(() => { keep(); apply(); });
    });
  }
  addEventListener('hashchange', () => {
    if (!location.hash.startsWith('#?')) return;
    for (const name of [...state.keys()]) state.delete(name);
    for (const [name, value] of new URLSearchParams(location.hash.slice(2))) state.set(name, value);
    apply();
  });
  apply();
})();
