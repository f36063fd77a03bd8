# frozen_string_literal: true

require "json"

# Mistakes of new users: each is answered by one error that names the cause and the fix.
RSpec.describe "Mistakes", :end_to_end do
  before(:context) do
    @photos = photo_folder(File.join(@scratch, "photos"), count: 4)
    @model = Transfer.train(backbone: "mobilenet_v2", data: @photos, split: { test: 0 }, quiet: true)
  end

  let(:files) { Dir["#{@photos}/*/*.png"] }
  let(:sighting) { Struct.new(:file, :kind) }

  def kind(file) = File.basename(File.dirname(file))
  def train(**words) = Transfer.train(backbone: "mobilenet_v2", data: @photos, quiet: true, **words)

  def file(name, content = "")
    File.join(@scratch, name).tap do |path|
      FileUtils.mkdir_p(File.dirname(path))
      File.binwrite(path, content)
    end
  end

  {
    lr: 'unknown word "lr" for train, did you mean "learning_rate"?', batch: 'did you mean "batch_size"?',
    lr_scheduler: 'did you mean "schedule"?', patience: 'did you mean "early_stopping"?',
    callbacks: "Fix: on(:epoch) { |epoch| … }", max_time: "no time limit. Try: preset: :fast",
    time: "no time limit. Try: preset: :fast", gpu: 'unknown word "gpu". Fix: device: :cuda',
    num_classes: "the classes are the labels of the data. Fix: leave it out", input_size: "Fix: leave it out",
    verbose: "Fix: quiet: true", shuffle: "every epoch has a new order", workers: "TRANSFER_THREADS",
    model: 'Fix: backbone: "mobilenet_v2"', validation_split: "Fix: split: { test: 0.2, valid: 0.15 }"
  }.each do |word, fix|
    it "with the word #{word} name the recipe's" do
      expect { train(word => 1) }.to raise_error(Transfer::RecipeError, /#{Regexp.escape(fix)}/)
    end
  end

  it "in a split name shares" do
    expect { train(split: 80) }.to raise_error(/split: expected shares such as { test: 0.2, valid: 0.15 } \(got 80\)/)
    expect { train(split: { test: 20 }) }.to raise_error(/test: .* \(got 20\), did you mean 0.2\?/)
  end

  it "without a backbone or data show an example" do
    expect { Transfer.train(data: @photos) }.to raise_error(/backbone is missing\. Fix: backbone: "mobilenet_v2"/)
    expect { Transfer.train(backbone: "mobilenet_v2") }.to raise_error(%r{data is missing\. Fix: data: "photos/"})
  end

  it "in a source name what it is" do
    file("coco/annotations/instances.json", "{}")
    file("yolo/labels/0.txt", "0 .5 .5 .1 .1")
    {
      "s3://bucket/photos" => /URL, expected a file\. Fix: download it first/,
      file("table.xlsx", "PK\x03\x04") => /is a spreadsheet\. Fix: save it as CSV/,
      file("report.pdf", "%PDF-1.4") => /is a document\. Fix: write its texts into a CSV/,
      file("list.json", "[]") => /is one JSON document\. Fix: JSON Lines/,
      File.join(@scratch, "coco") => /is not a COCO document: Object missing required field `images`/,
      File.join(@scratch, "yolo") => /has no names of classes\. Fix: names: \[first, second, …\] in data\.yaml/,
      file("texts.csv", "text,label\ngood,pos\nbad,neg\n") =>
        /has no column "path" \(found: "text", "label"\)\. This backbone takes images\. Fix: columns: { input: "…" }/
    }.each { |data, expected| expect { train(data:) }.to raise_error(Transfer::DataError, expected) }
  end

  it "in rows name the columns to write" do
    rows = files.map { |path| { image: path, label: kind(path) } }
    expect { train(data: rows) }.to raise_error(/row 1 has no input: .*columns: { input: "image", target: "label" }/)
    records = files.map { |path| sighting.new(path, kind(path)) }
    fix = /row 1 has no input: its columns are file, kind\. Fix: columns: { input: "file", target: "kind" }/
    expect { train(data: records) }.to raise_error(Transfer::DataError, fix)
    expect { @model.evaluate(records) }.to raise_error(Transfer::DataError, fix)
    expect { train(data: files) }.to raise_error(/a value without a label\. Fix: give pairs \["a.jpg", "cat"\]/)
    expect { train(data: files.map { |path| { input: path } }) }.to raise_error(/row 1 has no label: .*Fix: give pairs/)
  end

  it "are none in pairs, and in records with one attached file" do
    pairs = files.map { |path| [path, kind(path)] }
    expect(@model.evaluate(pairs)[:accuracy]).to be > 0.9
    macro = Struct.new(:macro, :name)
    photo = Struct.new(:picture, :label) do
      define_singleton_method(:reflect_on_all_attachments) { [macro.new(:has_one_attached, :picture)] }
    end
    expect(@model.evaluate(files.map { |path| photo.new(path, kind(path)) })[:accuracy]).to be > 0.9
  end

  it "in a cell name its column" do
    rows = Array.new(30) { |i| { age: i == 3 ? Float::INFINITY : i, y: i.odd? ? "a" : "b" } }
    expect { Transfer.train(backbone: "sklearn:ColumnTransformer", data: rows, columns: { target: "y" }, quiet: true) }
      .to raise_error(Transfer::DataError, /row 4: age is inf, expected a finite number\. Fix: leave it empty \(nil\)/)
  end

  it "in an input are named in a line, whatever its size" do
    pdf = file("report.pdf", "%PDF-1.4")
    expect { @model.predict(pdf) }.to raise_error(Transfer::DataError, /it is a PDF document, not an image/)
    expect { @model.predict("what a good film") }
      .to raise_error(Transfer::DataError, /no such file \(expected a path, an IO or the bytes of an image\)/)
    [[File.binread(files.first) * 40].pack("m0"), "data:image/png;base64,#{'QUJD' * 4000}"].each do |encoded|
      error = begin
        @model.predict(encoded)
      rescue Transfer::DataError => error
        error
      end
      expect(error.message).to match(/is not a path: it has \d+ bytes\. Fix: .*unpack1\("m"\)/)
      expect(error.message.size).to be < 250
    end
  end

  it "in a name for a model name the format" do
    expect { @model.save(File.join(@scratch, "x.onnx")) }
      .to raise_error(Transfer::ConfigurationError, /another format than \.transfer\. Fix: use export/)
    expect(File.exist?(File.join(@scratch, "x.onnx"))).to be(false)
  end

  it "in options are noticed" do
    expect(transfer("train", @photos, "--backbone")[1..]).to match([/--backbone needs a value/, 2])
    expect(transfer("train", @photos, "--lr",
                    "1")[1..]).to match([/unknown option "--lr", did you mean "--learning-rate"/, 2])
  end

  it "are none in JSON, which is the same with and without Rails" do
    prediction = @model.predict(files.first)
    expect(JSON.parse(prediction.to_json)).to eq(prediction.to_h.transform_keys(&:to_s))
    expect(JSON.parse(JSON.generate([prediction]))).to eq([prediction.as_json])
    code = "require 'active_support'; require 'active_support/json'; require 'transfer'; " \
           "puts Transfer::Prediction.parse({ 'label' => 'a', 'score' => 0.5, 'scores' => { 'a' => 0.5 } }).to_json"
    out, status = Open3.capture2e(RbConfig.ruby, "-I", Scripts::LIB, "-e", code)
    expect([out, status.success?]).to eq([%({"label":"a","score":0.5,"scores":{"a":0.5}}\n), true])
  end
end
