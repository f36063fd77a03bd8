# frozen_string_literal: true

require "logger"

# A real worker with real models; a new one for the examples that are `fresh`, whose settings are their own.
RSpec.describe "Serving", :end_to_end do
  before(:context) do
    @photos = photo_folder(File.join(@scratch, "photos"), count: 8)
    two = photo_folder(File.join(@scratch, "two"), count: 6, colors: { "dark" => [50] * 3, "light" => [200] * 3 })
    @first, @second = { "first" => @photos, "second" => two }.map do |name, data|
      Transfer.train(backbone: "mobilenet_v2", data:, seed: 1).save(File.join(@scratch, "#{name}.transfer"))
    end
    Transfer.shutdown
  end

  before(:each, :fresh) { Transfer.shutdown }

  after(:each, :fresh) do
    Transfer.shutdown
    Transfer.instance_variable_set(:@config, nil)
    Transfer.config.home = File.join(@scratch, "home")
  end

  let(:photos) { Dir[File.join(@photos, "*/*.png")] }
  let(:model) { Transfer.load(@first) }
  let(:red) { File.join(@photos, "red/0.png") }

  def served = Transfer.stats.dig(:workers, :serve, :processes, 0, :serving)

  # What the block gives, or raises, in each of so many threads.
  def together(count, &block)
    threads = Array.new(count) do |i|
      Thread.new do
        block.call(i)
      rescue Transfer::Error => error
        error
      end
    end
    threads.map(&:value)
  end

  it "has the same results for concurrent threads as for one" do
    alone = photos.map { |photo| model.predict(photo) }
    found = together(48) { |i| model.predict(photos[i % photos.size]) }
    found.each_with_index do |prediction, i|
      expected = alone[i % photos.size]
      expect(prediction.label).to eq(expected.label)
      expected.scores.each { |label, score| expect(prediction.scores[label]).to be_within(1e-5).of(score) }
    end
    vectors = together(12) { |i| i.odd? ? model.embed(photos[i]) : model.predict(photos[i]) }
    alone = photos.first(12).map { |photo| model.embed(photo) }
    [1, 3, 5, 7, 9, 11].each do |i|
      expect(vectors[i].zip(alone[i]).map { |a, b| (a - b).abs }.max).to be < 1e-5
    end
    expect(served[:batches][:sizes].keys.max).to be > 1
    expect(served[:batches][:mean]).to be > 1
    expect(served).to include(open: 0, refused: 0)
    expect(served[:seconds].values).to eq(served[:seconds].values.sort)
  end

  it "does not count statistics as a use" do
    model.predict(red)
    sleep 0.2
    before, after = Array.new(2) { Transfer.stats.dig(:workers, :serve, :processes, 0).slice(:calls, :idle) }
    expect(after[:calls]).to eq(before[:calls])
    expect([before[:idle], after[:idle] - before[:idle]]).to match([be >= 0.2, be >= 0])
  end

  it "fails an unreadable photo alone" do
    broken = File.binread(red)[0, 100]
    found = together(12) { |i| model.predict(i == 5 ? broken : red) }
    expect(found.delete_at(5)).to be_a(Transfer::DataError).and have_attributes(message: /the image: .*truncated/)
    expect(found.map(&:label)).to eq(["red"] * 11)
  end

  it "never computes cancelled requests", :fresh do
    asked = model # the worker is there, its model is not
    found = together(8) { bridge.call("predict", { "model" => @first.to_s, "inputs" => [red] }, timeout: 0.05) }
    expect(found).to all(be_a(Transfer::TimeoutError))
    expect(asked.predict(red).label).to eq("red")
    expect(served[:batches]).to include(count: 1, sizes: { 1 => 1 })
  end

  it "refuses requests above the limit", :fresh do
    Transfer.config.serving_queue_limit = 3
    asked = model
    found = together(8) { asked.predict(red) }
    refused, answered = found.partition { |each| each.is_a?(Transfer::Overloaded) }
    expect(refused.size).to be_between(1, 5)
    expect(refused.first).to have_attributes(limit: 3, message: /\A3 requests .* ask again in a moment/)
    expect(answered.map(&:label)).to eq(["red"] * answered.size)
    expect(asked.predict(red).label).to eq("red")
    expect(served[:refused]).to eq(refused.size)
  end

  it "names an invalid setting", :fresh do
    allow(Transfer.config).to receive(:for_worker).and_return({ "TRANSFER_SERVING_BATCH_SIZE" => "0" })
    asked = model
    expect { asked.predict(red) }.to raise_error(
      Transfer::ConfigurationError, "TRANSFER_SERVING_BATCH_SIZE is a number of 1 or more, got '0'"
    )
  end

  it "batches by size and waiting time of the settings", :fresh do
    Transfer.config.serving_batch_size = 3
    Transfer.config.serving_wait_ms = 100
    asked = model
    asked.predict(red)
    together(9) { asked.predict(red) }
    expect(served[:batches][:sizes]).to eq({ 1 => 1, 3 => 3 })
  end

  describe "a model whose file changes" do
    let(:file) { Pathname(File.join(@scratch, "changing.transfer")) }
    let(:log) { StringIO.new }

    let(:model) do
      put(@first)
      Transfer.load(file)
    end

    def put(source)
      FileUtils.cp(source, "#{file}.new")
      File.rename("#{file}.new", file)
    end

    it "is reloaded while threads predict, and none of them fails" do
      asked = model
      ended = false
      threads = Array.new(4) { Thread.new { Enumerator.produce { asked.predict(red).label }.take_while { !ended } } }
      seen = Array.new(4) do |i|
        put(i.even? ? @second : @first)
        [asked.reload.labels.first, asked.predict(red).label]
      end
      ended = true
      expect(seen).to eq([%w[dark dark], %w[blue red]] * 2)
      expect(threads.flat_map(&:value).uniq).to contain_exactly("red", "dark")
    end

    it "stays in use while its file is invalid, with one warning" do
      Transfer.config.logger = Logger.new(log, level: :warn)
      asked = model
      asked.predict(red)
      File.truncate(file, 1000)
      expect(Array.new(3) { asked.predict(red).label }).to eq(%w[red red red])
      expect(log.string.lines.map { |line| line[/(?<= : ).*/] }).to match(
        [/\A.*changing\.transfer is cut short.*; the previous model stays in use\z/]
      )
      expect { asked.reload }.to raise_error(Transfer::ModelFileError, /cut short/)
      put(@second)
      expect(asked.predict(red).label).to eq("dark")
      expect(asked.reload.labels).to eq(%w[dark light])
    ensure
      Transfer.config.logger = nil
    end
  end

  describe "beside long calls" do
    let(:endless) do
      { backbone: "mobilenet_v2", data: @photos, epochs: 100_000, optimizer: :adam, early_stopping: 0, quiet: true }
    end

    # A training that has begun its epochs; it is cancelled after the block.
    def beside(start)
      begun = Queue.new
      job = start.call({ epoch: ->(_) { begun << true } })
      begun.pop(timeout: 120) or raise "the training did not begin"
      yield
      expect(job.done?).to be(false)
    ensure
      job.cancel.wait(20)
    end

    it "predicts during a training and a resumed one, from a process of its own", :fresh do
      asked = model
      run = nil
      beside(->(on) { Transfer.train_async(**endless, on:).tap { |job| run = job } }) do
        expect(Array.new(20) { asked.predict(red).label }.uniq).to eq(["red"])
        pids = Transfer.stats[:workers].values.flat_map { |role| role[:processes].map { |process| process[:pid] } }
        expect(pids.uniq.size).to eq(2)
      end
      beside(->(on) { Transfer.resume_async(run, quiet: true, on:) }) do
        expect(Array.new(20) { asked.predict(red).label }.uniq).to eq(["red"])
      end
    end

    it "predicts while a model is evaluated", :fresh do
      many = photo_folder(File.join(@scratch, "many"), count: 150)
      asked = model
      asked.predict(red)
      evaluation = Thread.new { asked.evaluate(many) }
      predicted = 0
      predicted += 1 while asked.predict(red) && evaluation.alive?
      expect(evaluation.value[:accuracy]).to be > 0.9
      expect(predicted).to be > 5
      expect(Transfer.stats[:workers][:train][:processes]).to eq([])
    end
  end
end
