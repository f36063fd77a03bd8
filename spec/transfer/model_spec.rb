# frozen_string_literal: true

require "json"
require "logger"

RSpec.describe Transfer::Model do
  before { backend("core") }

  let(:model) { Transfer.load("signs.transfer") }

  it "knows what its file says" do
    expect(model).to have_attributes(
      path: Pathname(File.absolute_path("signs.transfer")), task: :classification, labels: %w[blue red],
      backbone: "mobilenet_v2", history: [{ step: "train", epoch: 1, loss: 0.5 }]
    )
    expect(model.metrics[:accuracy]).to eq(0.975)
    expect(model.metrics[:per_class].first[:recall]).to eq(1.0)
    expect(model.summary[:sizes]).to eq({ train: 8, valid: 2, test: 2 })
    expect(model.metrics).to be_frozen
    expect(model.inspect).to eq(
      "#<Transfer::Model signs.transfer: mobilenet_v2, classification of blue, red, accuracy 0.975, " \
      "balanced_accuracy 0.75>"
    )
  end

  it "is matched and written as JSON by its metadata" do
    matched = case model
              in { task: :classification, labels: [*, "red"], metrics: { accuracy: 0.9.. => accuracy } } then accuracy
              end
    expect(matched).to eq(0.975)
    expect(JSON.parse(model.to_json)).to include(
      "path" => File.absolute_path("signs.transfer"), "task" => "classification", "labels" => %w[blue red]
    )
  end

  it "is refused by the core if it is no model" do
    expect { Transfer.load(Pathname("/photos/a.jpg")) }
      .to raise_error(Transfer::ModelFileError, "/photos/a.jpg is no model") do |error|
        expect(error.backtrace.first).to start_with("#{__FILE__}:#{__LINE__ - 2}:in")
      end
  end

  it "predicts one for one and many for many" do
    expect(model.predict("a.jpg").label).to eq("a.jpg")
    expect(model.predict(%w[a.jpg b.jpg]).map(&:label)).to eq(%w[a.jpg b.jpg])
    expect(model.predict([Pathname("/x/a.jpg")]).map(&:label)).to eq(%w[a.jpg])
    expect(model.predict([])).to eq([])
    expect(model.predict([StringIO.new("12345"), "\xFF\xD8\xFF"]).map(&:label)).to eq(["5 bytes", "3 bytes"])
  end

  it "predicts at a level" do
    expect(model.predict("a.jpg", level: 0.9).set).to eq(%w[a.jpg 0.9])
    expect(model.predict(%w[a.jpg b.jpg], level: 1r / 2).map(&:set)).to eq([%w[a.jpg 0.5], %w[b.jpg 0.5]])
    expect(model.predict("a.jpg").set).to be_nil
    expect { model.predict("a.jpg", level: "much") }.to raise_error(ArgumentError)
  end

  it "predicts more than fits into a message, in order" do
    names = Array.new(600) { |i| "#{i}.jpg" }
    expect(model.predict(names).map(&:label)).to eq(names)
  end

  describe "a stream" do
    # Paths, and how many were read so far.
    def counted(count)
      read = 0
      [Enumerator.new { |y| count.times { |i| y << "#{read = i + 1}.jpg" } }.lazy, -> { read }]
    end

    it "is read a batch ahead" do
      names, read = counted(1000)
      predictions = model.predict(names)
      expect([predictions, read.call]).to match([Enumerator::Lazy, 0])
      expect([predictions.first(3).map(&:label), read.call]).to eq([%w[1.jpg 2.jpg 3.jpg], 8 + 16])
      ahead = model.predict(names).map { |prediction| read.call - prediction.label.to_i }.to_a
      expect([ahead.size, ahead.max]).to eq([1000, 127])
    end

    it "is computed a batch ahead" do
      log = StringIO.new
      Transfer.shutdown
      backend("core", trace: bridge::Connection::Trace.new(Logger.new(log)))
      asked = -> { log.string.scan(/-> #\d+ predict/).size }
      most = 0
      model.predict(counted(100).first) do |prediction|
        most = eventually { asked.call if asked.call == 2 } if prediction.label == "1.jpg"
      end
      expect([most, asked.call]).to eq([2, 4])
    end

    it "ends with the block, the error of an input or of the worker, without a thread" do
      names, = counted(100)
      expect(model.predict(names) { |prediction| break prediction.label }).to eq("1.jpg")
      broken = names.map { |name| name == "30.jpg" ? Object.new : name }
      expect { model.predict(broken).to_a }.to raise_error(ArgumentError, /\Aimage 30: .*got Object/)
      Transfer.shutdown
      backend("no_start")
      expect { model.predict(names).to_a }.to raise_error(Transfer::WorkerCrashed) { |error|
        expect(error.backtrace).to include(start_with("#{__FILE__}:#{__LINE__ - 1}:in"))
      }
    end
  end

  it "predicts fewer at once where each has scores of many labels" do
    labels = Array.new(30_000) { |i| "label #{i}" }
    many = described_class.new({ **model.summary.transform_keys(&:to_s), "labels" => labels })
    Transfer.shutdown
    Dir.mktmpdir do |folder|
      said = MessagePack.pack({ "label" => "l", "score" => 0.5, "scores" => { "l" => 0.5 } })
      File.binwrite(File.join(folder, "said"), MessagePack.pack({ "each" => said }))
      log = StringIO.new
      backend("scripted", File.join(folder, "said"), trace: bridge::Connection::Trace.new(Logger.new(log)))
      expect(many.predict(["a.jpg"] * 50).map(&:label)).to eq(["l"] * 50)
      expect(log.string.scan(/-> #\d+ predict/).size).to eq(3)
    end
  end

  it "names the input that can't be read, counted among all" do
    { ["a.jpg"] * 299 => "image 300 of 300", ["a.jpg"] * 256 => "image 257 of 257", ["a.jpg"] => "image 2 of 2",
      [] => "the image" }.each do |before, name|
      expect { model.predict([*before, StringIO.new]) }
        .to raise_error(Transfer::DataError, "#{name}: the file is empty") { |error|
          expect([error.path, error.backtrace.first]).to match(["x", start_with("#{__FILE__}:#{__LINE__ - 2}:in")])
        }
    end
  end

  it "tells the worker its file each time, so that it survives the worker" do
    before = model.predict("a.jpg").scores.keys.last
    Transfer.shutdown
    backend("core")
    expect(model.predict("a.jpg").scores.keys.last).to eq(before).and eq(model.path.to_s)
  end

  it "embeds as Arrays" do
    expect(model.embed("a.jpg")).to eq([0.0, 1.0])
    expect(model.embed(%w[a.jpg b.jpg])).to eq([[0.0, 1.0], [2.0, 3.0]])
  end

  it "embeds as one tensor, of any number of photos" do
    tensor = model.embed(Array.new(300) { |i| "#{i}.jpg" }, as: :tensor)
    expect([tensor.dtype, tensor.shape, tensor.to_a.values_at(0, 255, 256)])
      .to eq(["float32", [300, 2], [[0.0, 1.0], [510.0, 511.0], [0.0, 1.0]]])
    expect(model.embed("a.jpg", as: :tensor).to_a).to eq([[0.0, 1.0]])
    expect(model.embed([], as: :tensor).shape).to eq([0, 2])
    expect { model.embed("a.jpg", as: :numo) }.to raise_error(ArgumentError, "as is :array or :tensor, got :numo")
  end

  it "evaluates a folder, splits or rows" do
    expect(model.evaluate("test/", columns: { target: :species }, on_bad_input: :skip)).to include(
      accuracy: 0.975, model: model.path.to_s, data: File.absolute_path("test"), columns: { target: "species" },
      on_bad_input: "skip"
    )
    expect(model.evaluate([{ input: "a.jpg", label: "red" }])[:data].keys).to eq([:stream])
    expect { model.evaluate("test/", columns: "species") }.to raise_error(
      ArgumentError, 'columns is a Hash such as { target: "species" }, got "species"'
    )
  end

  it "is reported on" do
    expect(model.report("x.html")).to eq(Pathname(File.absolute_path("x.html")))
    rows = [{ input: "a.jpg", label: "red" }]
    expect(model.report(Pathname("/tmp/x.md"), data: rows, columns: { target: :label }))
      .to eq(Pathname("/tmp/x.md"))
    expect { model.report("x.html", on_bad_input: :mark) }.to raise_error(ArgumentError, /:raise or :skip/)
  end

  it "is saved" do
    expect(model.save("/tmp/x.transfer")).to eq(Pathname("/tmp/x.transfer"))
    expect(model.save(Pathname("x.transfer"), backbone: false)).to eq(Pathname(File.absolute_path("x.transfer")))
  end

  it "is compared by its file, and can be marshalled" do
    expect(model).to eq(Transfer.load("./signs.transfer"))
    expect(Marshal.load(Marshal.dump(model)).predict("a.jpg").label).to eq("a.jpg")
  end

  it "is used by 100 threads at once" do
    model
    labels = Array.new(100) { |i| Thread.new { model.predict("#{i}.jpg").label } }.map(&:value)
    expect(labels).to eq(Array.new(100) { |i| "#{i}.jpg" })
    expect(Leaks.children.size).to eq(1)
  end

  describe Transfer::Backbone do
    it "lists facts" do
      expect(Transfer.backbones.map(&:name)).to eq(["mobilenet_v2"])
      facts = Transfer.backbone(:mobilenet_v2)
      expect(facts).to have_attributes(blocks: %w[0 1], parameters: 3_504_872, embedding_width: 1280)
      expect(facts[:family]).to eq("MobileNet")
      expect(facts.inspect).to eq("#<Transfer::Backbone mobilenet_v2: 3.5M parameters>")
      expect(facts).to eq(Transfer.backbones.first)
    end

    it "is the same however much is known of it, and knows every fact" do
      listed = described_class.new({ "name" => "mobilenet_v2", "parameters" => 1, "license" => "MIT" })
      expect([listed, listed.hash]).to eq([Transfer.backbone(:mobilenet_v2), Transfer.backbone(:mobilenet_v2).hash])
      expect(listed).not_to eq(described_class.new({ "name" => "vgg11", "parameters" => 1, "license" => "MIT" }))
      expect([listed[:blocks], listed[:license]]).to eq([%w[0 1], "MIT"])
      whole = described_class.new(
        { "name" => "b", "blocks" => [], "default" => "V1", "weights" => [{ "name" => "V1", "license" => "BSD" }] }
      )
      expect(whole[:license]).to eq("BSD")
    end

    it "asks nobody for what is no fact" do
      listed = described_class.new({ "name" => "not/here", "parameters" => 1 })
      expect([listed[:colour], listed[:input_size]]).to eq([nil, nil])
      expect { listed[:blocks] }.to raise_error(Transfer::Error)
    end
  end
end
