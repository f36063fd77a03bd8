# frozen_string_literal: true

RSpec.describe Transfer::Onnx, :folder do
  before(:context) do
    Exported.write("onnx_files", @folder)
    FileUtils.mkdir_p("#{@folder}/photos")
    Photos::COLORS.each { |name, color| File.binwrite("#{@folder}/photos/#{name}.png", png(color)) }
  end

  include Photos

  def load(name) = described_class.load("#{@folder}/#{name}.onnx")

  def photo(name) = "#{@folder}/photos/#{name}.png"

  # Mean color of a photo, from 0 to 1.
  def mean(name)
    raster = Exported.const_get(:Image).decode(photo(name))
    raster.bytes.bytes.each_slice(3).to_a.transpose.map { |channel| channel.sum / (255.0 * channel.size) }
  end

  def probabilities(name)
    weights = mean(name).map { |value| Math.exp(value) }
    weights.map { |weight| weight / weights.sum }
  end

  describe "a classifier" do
    let(:model) { load("classes") }

    it "predicts as its graph computes, one photo or many, from paths and bytes" do
      found = model.predict([photo("red"), File.binread(photo("green")), Pathname.new(photo("blue"))])
      expect(found.map(&:label)).to eq(%w[a b c])
      expect(found.first.scores.values_at("a", "b", "c")).to match(probabilities("red").map do |p|
                                                                     be_within(1e-6).of(p)
                                                                   end)
      expect(found.first.scores.values).to eq(found.first.scores.values.sort.reverse)
      expect(model.predict(photo("red"))).to eq(found.first)
      expect(found.first).to be_a(Transfer::Prediction::Classification)
    end

    it "has the description of the model that was exported" do
      expect(model.labels).to eq(%w[a b c])
      expect([model.task, model.modality, model.backbone]).to eq([:classification, :image, "mean_color"])
      expect(model.inspect)
        .to eq("#<Transfer::Onnx::Model classes.onnx: mean_color, classification of a, b, c, accuracy 0.9>")
      expect(model.summary).to include(bytes: File.size(model.path), embedding_width: 3)
    end

    it "gives the prediction set that split conformal prediction defines" do
      scores = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
      [0.1, 0.5, 0.8, 0.9].each do |level|
        most = scores[((scores.size + 1) * level).ceil - 1]
        prediction = model.predict(photo("red"), level:)
        expected = prediction.scores.select { |label, p| label == prediction.label || 1 - p <= most }.keys
        expect(prediction.set).to eq(expected), level.to_s
      end
      expect { model.predict(photo("red"), level: 0.95) }
        .to raise_error(Transfer::RecipeError, /level: 0.95 needs at least 19 held-out examples, and this model has 10/)
      expect do
        model.predict(photo("red"), level: 1.5)
      end.to raise_error(Transfer::RecipeError, /above 0 and below 1 \(got 1.5\)/)
    end

    it "marks, skips or refuses what can't be read" do
      inputs = [photo("red"), "#{@folder}/none.jpg", "no image".b]
      marked = model.predict(inputs, on_bad_input: :mark)
      expect(marked.map(&:ok?)).to eq([true, false, false])
      expect(marked[1].to_h).to eq({ error: "#{@folder}/none.jpg: no such file", path: "#{@folder}/none.jpg" })
      expect(marked[2].message).to eq("image 3 of 3: it is not an image (expected JPEG, PNG, WebP, GIF or BMP)")
      expect { model.predict(inputs) }.to raise_error(Transfer::DataError, /\A2 of 3 inputs can't be used: /)
      expect do
        expect(model.predict(inputs, on_bad_input: :skip).size).to eq(1)
      end.to output(/left out 2 inputs/).to_stderr
    end

    it "streams, and takes a block" do
      names = %w[red green blue].cycle.first(30)
      expect(model.predict(names.lazy.map { |name| photo(name) }).map(&:label).to_a).to eq(%w[a b c].cycle.first(30))
      seen = []
      expect(model.predict(names.map { |name| photo(name) }) { |prediction| seen << prediction.label }).to be(model)
      expect(seen).to eq(%w[a b c].cycle.first(30))
    end

    it "gives embeddings" do
      expect(model.embed(photo("red"))).to match(mean("red").map { |value| be_within(1e-6).of(value) })
      expect(model.embed([photo("red")] * 2, as: :tensor).shape).to eq([2, 3])
      expect { model.embed([photo("red"), "x.jpg"]) }.to raise_error(Transfer::DataError, /x.jpg: no such file/)
    end

    it "can't be evaluated or saved, which needs the model itself" do
      expect do
        model.evaluate(@folder)
      end.to raise_error(Transfer::ConfigurationError, /only predicts. Fix: use its .transfer file/)
      expect { model.save("x") }.to raise_error(Transfer::ConfigurationError, /only predicts. Fix: use its .transfer/)
    end
  end

  it "predicts labels above their thresholds" do
    prediction = load("labels").predict(photo("red"))
    expect(prediction).to be_a(Transfer::Prediction::MultiLabel)
    expect(prediction.labels).to eq(%w[a b c].zip(mean("red")).select { |_, value| value > 0.5 }.map(&:first))
    expect { load("labels").predict(photo("red"), level: 0.5) }
      .to raise_error(Transfer::RecipeError, /prediction sets are not available for multi_label models/)
  end

  it "predicts numbers with intervals" do
    prediction = load("values").predict(photo("blue"), level: 0.9)
    red, = mean("blue")
    expect(prediction.values["red"]).to be_within(1e-6).of(red)
    expect(prediction.intervals["red"]).to match([be_within(1e-6).of(red - 0.1), be_within(1e-6).of(red + 0.1)])
  end

  describe "a detector" do
    let(:model) { load("boxes") }
    let(:prediction) { model.predict(photo("red"), level: 0.3) }

    it "predicts boxes in pixels of the photo" do
      expect([prediction.width, prediction.height]).to eq([32, 32])
      expect(prediction).to be_a(Transfer::Prediction::Detection)
      expect(prediction.labels).to eq(%w[c a])
      expect(prediction.boxes.first).to have_attributes(score: 0.75, x: 8.0, y: 16.0, width: 16.0, height: 8.0)
      # The margin of this level is 0.3 of each side.
      outer = { x: 3.2, y: 13.6, width: 25.6, height: 12.8 }
      expect(prediction.boxes.first.outer).to match(outer.transform_values { |side| be_within(1e-9).of(side) })
    end

    it "draws them without Python" do
      prediction
      Transfer.config.python = "/nowhere/python"
      before, after = [photo("red"), prediction.draw("#{@folder}/drawn.png").to_s].map do |file|
        Exported.const_get(:Image).decode(file).bytes.bytes.each_slice(3).each_slice(32).to_a
      end
      expect(after[16][8..23].uniq.size).to eq(1)
      expect(after[16][8]).not_to eq(before[16][8])
      expect(after[20][12..19]).to eq(before[20][12..19])
      expect { prediction.draw("#{@folder}/drawn.jpg") }
        .to raise_error(Transfer::DataError, /without Python\. Fix: use a name that ends with \.png/)
    ensure
      Transfer.config.python = Workers::PYTHON
    end

    it "has no embeddings and no tiles" do
      expect { model.embed(photo("red")) }.to raise_error(Transfer::ConfigurationError, /models of the task detection/)
      expect { model.predict(photo("red"), tile: true) }
        .to raise_error(Transfer::ConfigurationError, /takes whole images\. Fix: leave out tile/)
      expect { model.predict(photo("red"), augment: true) }
        .to raise_error(Transfer::ConfigurationError, /takes whole images\. Fix: leave out augment/)
    end
  end

  describe "a translator" do
    %w[texts pieces].each do |name|
      it "reads and writes tokens: #{name}" do
        found = load(name).predict(["the page", "page <unk> zoo", "abc" * 30])
        expect(found.first).to be_a(Transfer::Prediction::Text)
        expect(found.first.to_h).to eq({ text: "open the page", score: 0.5,
                                         candidates: [{ text: "open the page", score: 0.5 }] })
        expect(found.map(&:text)[1..]).to eq(["open page  zoo", "open #{'abc' * 5}a"])
      end
    end

    it "has no embeddings and no prediction sets" do
      expect { load("texts").embed("page") }.to raise_error(Transfer::ConfigurationError, /translation have none/)
      expect { load("texts").predict("page", level: 0.9) }
        .to raise_error(Transfer::RecipeError, /not available for translation models/)
      expect { load("texts").predict(" ") }.to raise_error(Transfer::DataError, /the text is empty/)
    end
  end

  describe "a model of tables" do
    let(:model) { load("rows") }

    it "takes cells in any form that the core takes" do
      rows = [{ rooms: 3, city: "Bonn", area: 4.5 }, { "rooms" => " 3 ", city: " ulm\n", area: "1e1" },
              { rooms: nil, city: nil, area: "n/a" }, { rooms: 2.0, city: :ulm, area: -1, more: "ignored" }]
      expect(model.predict(rows).map(&:value)).to eq([7.5, 113.0, 0.0, 101.0])
      expect(model.predict(rows.first, level: 0.5).interval).to eq([2.5, 12.5])
    end

    it "names the cells that it can't use" do
      marked = model.predict([{ rooms: "many", city: "", area: 1 }, { rooms: 1 }, { rooms: true, city: 1, area: 1 },
                              { rooms: Float::INFINITY, city: 1, area: 1 }], on_bad_input: :mark)
      expect(marked.map(&:message)).to match(
        [/\Arow 1 of 4: rooms is "many", but held numbers in training/,
         'row 2 of 4: has no "city", "area" (expected: "rooms", "city", "area")',
         /\Arow 3 of 4: rooms is "true"/, /\Arow 4 of 4: rooms is Infinity, expected a finite number/]
      )
    end
  end

  describe "a file that can't be used" do
    {
      "text" => /is not an ONNX file, or damaged\. Fix: export the model again/,
      "empty" => /is not an ONNX file, or damaged/,
      "truncated" => /truncated\.onnx is (not an ONNX file|truncated)/,
      "changed" => /its content is not the one that was exported/,
      "foreign" => /was not exported by transfer-rb: it has no labels.*Fix: use it as a backbone/,
      "external" => /has tensors in other files, which are not read\. Fix: /,
      "external_attribute" => /has tensors in other files/,
      "external_subgraph" => /has tensors in other files/,
      "newer" => /it was exported by a newer version \(format 2\); this version reads up to 1: upgrade transfer-rb/,
      "task" => /its task is "segmentation..", unknown to this version/,
      "twice" => /its field labels is/
    }.each do |name, message|
      it "is refused when it is loaded: #{name}" do
        expect { load(name) }.to raise_error(Transfer::ModelFileError, message)
      end
    end

    { "operator" => /No Op registered for Frobnicate.*Fix: install a newer ONNX Runtime/,
      "domain" => /Frobnicate.*not a registered function.*Fix: install a newer ONNX Runtime/,
      "opset" => /Opset 99.*Fix: install a newer ONNX Runtime/,
      "width" => /its outputs have the wrong shapes: probabilities \[1, 3\]/ }.each do |name, message|
      it "is refused when it predicts: #{name}" do
        expect { load(name).predict(photo("red")) }.to raise_error(Transfer::ModelFileError, message)
      end
    end

    it "is refused, wherever a byte was changed or the file ends" do
      content = File.binread("#{@folder}/classes.onnx")
      chance = Random.new(RSpec.configuration.seed)
      200.times do |i|
        damaged = content.dup
        if i.even?
          damaged.setbyte(chance.rand(content.bytesize),
                          chance.rand(256))
        else
          damaged.slice!(chance.rand(content.bytesize)..)
        end
        next if damaged == content

        File.binwrite("#{@folder}/damaged.onnx", damaged)
        expect { load("damaged") }.to raise_error(Transfer::ModelFileError)
      end
    end

    it "is refused if there is none, or a pipe in its place" do
      File.mkfifo("#{@folder}/pipe.onnx")
      expect { load("pipe") }.to raise_error(Transfer::ModelFileError, /is not a regular file/)
      expect { load("none") }.to raise_error(Transfer::ModelFileError, /there is no file/)
    end
  end

  it "is used by the command like another model" do
    out, err, status = transfer("predict", "#{@folder}/classes.onnx", photo("red"), "--level", "0.5")
    expect([out, err, status]).to match([/\Aa\t0\.\d{4}\ta.*\t#{photo('red')}\n\z/, "", 0])
    out, = transfer("embed", "#{@folder}/classes.onnx", photo("red"), "--json")
    expect(JSON.parse(out)["embedding"]).to match(mean("red").map { |value| be_within(1e-6).of(value) })
    expect(transfer("predict", "#{@folder}/text.onnx", photo("red"))).to match(["", /is not an ONNX file/, 3])
  end

  it "demands the signature that settings or the caller demand" do
    key = OpenSSL::PKey.generate_key("ED25519")
    File.binwrite("#{@folder}/signed.onnx", File.binread("#{@folder}/classes.onnx"))
    public_key = key.public_to_pem
    expect { described_class.load("#{@folder}/signed.onnx", signed_by: public_key) }
      .to raise_error(Transfer::SignatureError, /is not signed/)
    Transfer.const_get(:Signature).sign("#{@folder}/signed.onnx", key)
    expect(Transfer.load("#{@folder}/signed.onnx", signed_by: public_key).labels).to eq(%w[a b c])
    Transfer.config.require_signature = public_key
    expect { load("classes") }.to raise_error(Transfer::SignatureError)
  ensure
    Transfer.config.require_signature = nil
  end

  it "reports a missing, wrong or old library with the fix" do
    messages = ["#{@folder}/none.so", photo("red"), Dir["/usr/lib/*-linux-gnu/libz.so*"].first].map do |library|
      code = "Transfer::Onnx.load('#{@folder}/classes.onnx').predict('#{photo('red')}')"
      command = [RbConfig.ruby, "-I", Scripts::LIB, "-r", "transfer", "-e", code]
      output, = Open3.capture2e({ "TRANSFER_ONNXRUNTIME" => library }, *command)
      output[/(?<=: ).*Transfer::\w+/]
    end
    expect(messages).to match([/there is no file .*none.so\. Fix: .*ConfigurationError/,
                               /can't be opened as a library\. Fix: .*DependencyError/,
                               /is not ONNX Runtime\. Fix: .*DependencyError/])
  end
end
