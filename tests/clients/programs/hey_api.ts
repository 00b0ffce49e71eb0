// Does every task with the client that @hey-api/openapi-ts generates. Arguments: the service's URL and a key.

import assert from 'node:assert/strict'

import {
    createRecognitionJob,
    deleteModel,
    getModel,
    getRecognitionJob,
    getRecognitionJobResults,
    listModels,
    recogniseText,
    uploadModel,
} from './ocr'
import { client } from './ocr/client.gen'

const [baseUrl, auth] = process.argv.slice(2)
client.setConfig({ baseUrl, auth })
const path = { name: 'typescript/hey-api.bin' }

async function models(): Promise<void> {
    const uploaded = await uploadModel({ path, body: new Blob(['weights']) })
    assert.equal(uploaded.data?.size_bytes, 7)
    console.log('upload a model')

    const listed = await listModels()
    assert(listed.data?.models.some((model) => model.name === path.name))
    console.log('list models')

    const found = await getModel({ path })
    assert.equal(found.data?.etag, uploaded.data.etag)
    console.log('get a model')

    const deleted = await deleteModel({ path })
    assert.equal(deleted.data?.name, path.name)
    console.log('delete a model')

    const { error } = await getModel({ path })
    assert.equal(error?.type, 'urn:ocr-model-service:problem:model-not-found')
    console.log('read a problem')
}

async function recognition(): Promise<void> {
    const recognised = await recogniseText({ body: { file: new Blob(['read Invoice 4711']) } })
    assert(typeof recognised.data === 'object' && 'pages' in recognised.data)
    assert.equal(recognised.data.text, 'Invoice 4711')
    console.log('recognise an image')

    const file = [new Blob(['read page 1']), new Blob(['read page 2'])]
    let job = (await createRecognitionJob({ body: { file } })).data
    console.log('send several files as a job')

    assert(job)
    const jobPath = { job_id: job.id }
    while (job && job.finished_at === null) {
        job = (await getRecognitionJob({ path: jobPath, query: { wait: 30 } })).data
    }
    const results = await getRecognitionJobResults({ path: jobPath })
    assert.deepEqual(results.data?.results.map((each) => each.recognition?.text), ['page 1', 'page 2'])
    console.log('follow a job')
}

async function main(): Promise<void> {
    await models()
    await recognition()
}

void main()
