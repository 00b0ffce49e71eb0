// Does every task with openapi-fetch and the types of openapi-typescript. Arguments: the service's URL and a key.

import assert from 'node:assert/strict'

import createClient from 'openapi-fetch'

import type { paths } from './ocr'

const [url, key] = process.argv.slice(2)
const client = createClient<paths>({ baseUrl: url, headers: { authorization: `Bearer ${key}` } })
const name = 'typescript/openapi-fetch.bin'

// openapi-typescript gives every file the type string.
const asFile = (bytes: string): string => new Blob([bytes]) as unknown as string

function asForm(body: { file: string | string[] }): FormData {
    const form = new FormData()
    for (const file of [body.file].flat()) {
        form.append('file', file as unknown as Blob, 'page.png')
    }
    return form
}

async function models(): Promise<void> {
    const params = { path: { name } }
    const uploaded = await client.PUT('/models/{name}', {
        params,
        body: asFile('weights'),
        bodySerializer: (body) => body,
        headers: { 'content-type': 'application/octet-stream' },
    })
    assert.equal(uploaded.data?.size_bytes, 7)
    console.log('upload a model')

    const listed = await client.GET('/models')
    assert(listed.data?.models.some((model) => model.name === name))
    console.log('list models')

    const found = await client.GET('/models/{name}', { params })
    assert.equal(found.data?.etag, uploaded.data.etag)
    console.log('get a model')

    const deleted = await client.DELETE('/models/{name}', { params })
    assert.equal(deleted.data?.name, name)
    console.log('delete a model')

    const { error } = await client.GET('/models/{name}', { params })
    assert.equal(error?.type, 'urn:ocr-model-service:problem:model-not-found')
    console.log('read a problem')
}

async function recognition(): Promise<void> {
    const recognised = await client.POST('/ocr', {
        body: { file: asFile('read Invoice 4711') },
        bodySerializer: asForm as never,
    })
    assert(typeof recognised.data === 'object' && 'pages' in recognised.data)
    assert.equal(recognised.data.text, 'Invoice 4711')
    console.log('recognise an image')

    const begun = await client.POST('/ocr/jobs', {
        body: { file: [asFile('read page 1'), asFile('read page 2')] },
        bodySerializer: asForm as never,
    })
    let job = begun.data
    console.log('send several files as a job')

    assert(job)
    const params = { path: { job_id: job.id }, query: { wait: 30 } }
    while (job && job.finished_at === null) {
        job = (await client.GET('/ocr/jobs/{job_id}', { params })).data
    }
    const results = await client.GET('/ocr/jobs/{job_id}/results', { params: { path: params.path } })
    assert.deepEqual(results.data?.results.map((each) => each.recognition?.text), ['page 1', 'page 2'])
    console.log('follow a job')
}

async function main(): Promise<void> {
    await models()
    await recognition()
}

void main()
