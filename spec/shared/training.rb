# frozen_string_literal: true

# Sums of floats depend on the batch size.
RSpec::Matchers.define :be_close_to do |expected|
  match { |actual| actual.zip(expected).map { |a, b| (a - b).abs }.max < 1e-4 }
end

RSpec.shared_examples "training and its results" do
  before(:context) do
    @photos = photo_folder(File.join(@scratch, "photos"), count: 12)
    @model = Transfer.train(backbone: "mobilenet_v2", data: @photos, seed: 1)
  end

  let(:photos) { @photos }
  let(:model) { @model }
  let(:red) { File.join(photos, "red/0.png") }

  it "classifies three colours" do
    expect(model.labels).to eq(%w[blue green red])
    expect(model.metrics[:accuracy]).to be > 0.9
    expect(model.summary[:sizes].values.sum).to eq(36)
    expect(model.recipe).to include(backbone: "mobilenet_v2", seed: 1, preset: "fast")
    expect(model.recipe[:steps]).not_to be_empty
    expect(model.history).not_to be_empty
    expect(model.path).to exist
  end

  it "predicts a path, a Pathname, bytes and an IO alike" do
    predictions = model.predict([red, Pathname(red), File.binread(red), StringIO.new(File.binread(red))])
    expect(predictions.map(&:label)).to eq(["red"] * 4)
    expect(predictions.first.scores.values.sum).to be_within(1e-5).of(1)
    expect(predictions.first.scores.values).to eq(predictions.first.scores.values.sort.reverse)
    alone = File.open(red, "rb") { |file| model.predict(file) }
    predictions.each { |prediction| expect(prediction.scores.values).to be_close_to(alone.scores.values) }
  end

  it "resolves relative paths from the directory of Ruby, not of the worker" do
    Dir.chdir(File.join(photos, "blue")) { expect(model.predict("0.png").label).to eq("blue") }
  end

  it "saves and loads with the same scores, also after a restart of the worker" do
    before = model.predict(red)
    file = model.save(File.join(@scratch, "signs.transfer"))
    Transfer.shutdown
    loaded = Transfer.load(file)
    expect(loaded.predict(red)).to eq(before)
    expect(loaded.metrics).to eq(model.metrics)
    small = loaded.save(File.join(@scratch, "head.transfer"), backbone: false)
    expect(small.size).to be < file.size / 10
    expect(Transfer.load(small).predict(red)).to eq(before)
  end

  it "refuses a damaged file" do
    file = model.save(File.join(@scratch, "damaged.transfer"), backbone: false)
    file.truncate(file.size - 10)
    expect { Transfer.load(file) }.to raise_error(Transfer::ModelFileError, /damaged\.transfer/)
  end

  it "embeds" do
    vectors = model.embed([red, File.join(photos, "blue/0.png")])
    expect(vectors.map(&:size)).to eq([1280, 1280])
    expect(vectors[0]).not_to eq(vectors[1])
    expect(vectors[0]).to be_close_to(model.embed(red))
  end

  it "evaluates a folder and rows" do
    expect(model.evaluate(photos)[:accuracy]).to be > 0.9
    wrong = Dir[File.join(photos, "red/*.png")].lazy.map { |file| { input: file, label: "blue" } }
    expect(model.evaluate(wrong)[:accuracy]).to be < 0.1
  end

  it "trains from rows, fine-tunes by steps, and has an event for every epoch" do
    epochs = []
    stages = []
    rows = Dir[File.join(photos, "*/*.png")].lazy.map do |file|
      { input: File.binread(file), label: File.basename(File.dirname(file)).to_sym }
    end
    tuned = Transfer.train(backbone: "mobilenet_v2", data: rows) do |recipe|
      recipe.head :linear, dropout: 0.1
      recipe.freeze :backbone
      recipe.train epochs: 3, optimizer: :adam, learning_rate: 1e-2
      recipe.unfreeze last: 1
      recipe.train epochs: 1, optimizer: :sgd, learning_rate: 1e-4, momentum: 0.9
      recipe.on(:epoch) { |event| epochs << [event.step, event.number, event.of] }
      recipe.on(:stage) { |event| stages << event.step }
    end
    expect(epochs).to eq([[:train, 1, 3], [:train, 2, 3], [:train, 3, 3], [:fine_tune, 1, 1]])
    expect(stages.uniq).to eq(%i[choose freeze head train fine_tune evaluate])
    expect(tuned.predict(red).label).to eq("red")
  end

  it "trains a recipe class" do
    stub_const("Colours", Class.new(Transfer::Recipe) { backbone "mobilenet_v2"; seed 1 }) # rubocop:disable Style/Semicolon
    expect(Colours.train(data: photos).predict(red).label).to eq("red")
  end

  it "predicts during a training" do
    gate = Queue.new
    job = Transfer.train_async(backbone: "mobilenet_v2", data: Enumerator.new { gate.pop })
    expect(model.predict(red).label).to eq("red")
    expect(job.done?).to be(false)
    job.cancel
    expect { job.value }.to raise_error(Transfer::Cancelled)
    gate.close
  end

  it "predicts between two epochs, and is cancelled during one" do
    started = Queue.new
    job = Transfer.train_async(
      backbone: "mobilenet_v2", data: photos, epochs: 100_000, optimizer: :adam, early_stopping: 0,
      on: { epoch: ->(_) { started << true } }
    )
    started.pop(timeout: 60)
    expect(model.predict(red).label).to eq("red")
    expect(job.done?).to be(false)
    job.cancel
    expect { job.value }.to raise_error(Transfer::Cancelled) # the epochs that are left would take days
  end
end
