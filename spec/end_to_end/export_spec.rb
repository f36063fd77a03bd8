# frozen_string_literal: true

# A model that was trained and exported through the worker predicts without it.
RSpec.describe "An exported model", :end_to_end do
  before(:context) do
    @photos = photo_folder(File.join(@scratch, "photos"), count: 12)
    @model = Transfer.train(backbone: "sklearn:pixels(size=8)", data: @photos, quiet: true)
    @file = File.join(@scratch, "photos.onnx")
  end

  def difference(ours, theirs) = ours.scores.map { |label, score| (score - theirs.scores[label]).abs }.max

  it "predicts as the model" do
    report = @model.export(@file, loader: :ruby)
    expect(report).to have_attributes(path: Pathname.new(@file), bytes: File.size(@file), precision: :float32,
                                      metric: nil)
    photos = Dir["#{@photos}/*/1.png"]
    exported = Transfer::Onnx.load(@file).predict(photos, level: 0.8)
    @model.predict(photos, level: 0.8).zip(exported) do |ours, theirs|
      expect(theirs).to have_attributes(label: ours.label, set: ours.set)
      expect(difference(ours, theirs)).to be < 1e-6
    end
    expect(JSON.parse(report.to_json)).to include("loader" => File.join(@scratch, "photos.rb"), "after" => nil)
  end

  it "is compared on data" do
    rows = Dir["#{@photos}/*/*.png"].map { |path| { input: path, label: File.basename(File.dirname(path)) } }
    report = @model.export(@file, evaluation: rows)
    expect(report).to have_attributes(metric: :accuracy, before: 1.0, after: 1.0, examples: rows.size)
  end

  it "is written by the command" do
    out, err, status = transfer("export", @model.path.to_s, @file, "--evaluation", @photos)
    expect([status, err]).to eq([0, ""])
    expect(out).to match(/photos\.onnx: float32, [\d.]+ kB\naccuracy 1\.0, model 1\.0\n/)
    expect(transfer("export", @model.path.to_s, @file, "--precision", "int8").last).to eq(4)
  end

  it "is refused in another precision, to another name and with other words" do
    expect { @model.export(@file, precision: :int8) }
      .to raise_error(Transfer::ConfigurationError, /int8 needs examples .* Fix: pass the training data/)
    expect { @model.export(@file, precision: :float16) }
      .to raise_error(Transfer::ConfigurationError, /has no network to store in float16\. Fix: export in float32/)
    expect { @model.export("#{@file}.txt") }.to raise_error(Transfer::ConfigurationError, /must end in \.onnx/)
    expect { @model.export(@file, columns: "label") }.to raise_error(ArgumentError, /columns is a Hash/)
    expect { @model.export(@file, colour: 1) }.to raise_error(ArgumentError, /unknown keyword: :colour/)
  end
end
