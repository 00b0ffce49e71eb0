// Does every task with the client that openapi-generator generates for TypeScript. Arguments: the service's URL and a key.

import assert from 'node:assert/strict'

import { Configuration, type JobOut, ModelsApi, RecognitionApi, ResponseError } from './ocr'

const [url, key] = process.argv.slice(2)
const name = 'typescript/fetch.bin'

async function models(api: ModelsApi): Promise<void> {
    const uploaded = await api.uploadModel({ name, body: new Blob(['weights']) })
    assert.equal(uploaded.sizeBytes, 7)
    console.log('upload a model')

    const listed = await api.listModels()
    assert(listed.models.some((model) => model.name === name))
    console.log('list models')

    assert.equal((await api.getModel({ name })).etag, uploaded.etag)
    console.log('get a model')

    assert.equal((await api.deleteModel({ name })).name, name)
    console.log('delete a model')

    try {
        await api.getModel({ name })
    } catch (error) {
        assert(error instanceof ResponseError)
        const problem = await error.response.json()
        assert.equal(problem.type, 'urn:ocr-model-service:problem:model-not-found')
        console.log('read a problem')
    }
}

async function recognition(api: RecognitionApi): Promise<void> {
    const recognised = await api.recogniseText({ file: new Blob(['read Invoice 4711']) })
    assert.equal(recognised.text, 'Invoice 4711')
    console.log('recognise an image')

    const file = [new Blob(['read page 1']), new Blob(['read page 2'])]
    let job: JobOut = await api.createRecognitionJob({ file })
    console.log('send several files as a job')

    while (job.finishedAt === null) {
        job = await api.getRecognitionJob({ jobId: job.id, wait: 30 })
    }
    const { results } = await api.getRecognitionJobResults({ jobId: job.id })
    assert.deepEqual(results.map((each) => each.recognition?.text), ['page 1', 'page 2'])
    console.log('follow a job')
}

async function main(): Promise<void> {
    const configuration = new Configuration({ basePath: url, accessToken: key })
    await models(new ModelsApi(configuration))
    await recognition(new RecognitionApi(configuration))
}

void main()
