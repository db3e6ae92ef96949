import { mount } from 'svelte'
import { Parley } from './app/parley'
import './ui/theme.css'
import './ui/base.css'
import './ui/prose.css'
import App from './view/App.svelte'

const parley = new Parley()
mount(App, { target: document.getElementById('app')!, props: { parley } })
void parley.start()
