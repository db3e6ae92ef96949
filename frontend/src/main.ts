import { mount } from 'svelte'
import { Parley } from './app/parley'
import './look/palette.css'
import './look/page.css'
import './look/prose.css'
import App from './view/App.svelte'

const parley = new Parley()
mount(App, { target: document.getElementById('app')!, props: { parley } })
void parley.start()
