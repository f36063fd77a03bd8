# frozen_string_literal: true

RSpec.describe "Object detection with the real core", :end_to_end do
  colors = { "brick" => [220, 40, 40], "sky" => [40, 60, 230] }

  # A grey BMP with a coloured square.
  def photo(path, color, left, top)
    pixels = Array.new(64) do |y|
      Array.new(64) do |x|
        inside = x.between?(left, left + 27) && y.between?(top, top + 27)
        inside ? color.reverse : [110, 100 + ((y * 5) % 30), 90 + ((x * 7) % 40)]
      end
    end
    header = ["BM", 54 + (64 * 64 * 3), 0, 54, 40, 64, 64, 1, 24].pack("a2VVVVVVvv")
    File.binwrite(path, header + ("\0" * 24) + pixels.reverse.flatten.pack("C*"))
    path
  end

  def rows(folder, colors)
    Array.new(16) do |number|
      label, color = colors.to_a[number % 2]
      left = (number * 5) % 36
      top = (number * 11) % 36
      path = photo(File.join(folder, "#{number}.bmp"), color, left, top)
      { input: path, boxes: [{ label:, x: left, y: top, width: 28, height: 28 }] }
    end
  end

  it "trains, predicts, saves and serves" do
    Dir.mktmpdir do |folder|
      data = rows(folder, colors)
      model = Transfer.train(
        backbone: "mobilenet_v2", data:, task: :detection, image_size: 96, epochs: 2, batch_size: 4,
        head: { type: :fcos, channels: 32, layers: 1 }
      )
      estimate = Transfer.estimate(
        backbone: "mobilenet_v2", data:, task: :detection, image_size: 96, epochs: 2, batch_size: 4,
        head: { type: :fcos, channels: 32, layers: 1 }, quiet: true
      )
      expect(estimate).to have_attributes(task: :detection, examples: 16, seconds: be_positive)
      expect(estimate.steps.last.disk).to be_within(20_000).of(File.size(model.path))
      expect(model.task).to eq("detection").or eq(:detection)
      expect(model.metrics).to include(:average_precision, :baseline)
      found = model.predict(data.first[:input])
      expect(found).to have_attributes(width: 64, height: 64)

      why = model.explain(data.first[:input], method: :occlusion)
      expect(why).to have_attributes(method: :occlusion, score: nil, overlay: start_with("\x89PNG".b))
      expect(why.boxes.map(&:label)).to eq(found.boxes.first(20).map(&:label))
      expect(why.boxes.map { |one| one.heatmap.shape }).to all(eq([96, 96]))

      path = model.save(File.join(folder, "squares.transfer"))
      loaded = Transfer.load(path)
      inputs = data.map { |row| row[:input] }
      expected = loaded.predict(inputs).map { |prediction| prediction.boxes.size }
      counts = Array.new(8) { Thread.new { loaded.predict(inputs).map { |each| each.boxes.size } } }.map(&:value)
      expect(counts).to all(eq(expected))
      every = loaded.predict(inputs, min_score: 0).sum { |prediction| prediction.boxes.size }
      expect(every).to be > expected.sum
      expect(loaded.predict(inputs.first, tile: true).boxes.size).to eq(expected.first)
    end
  end

  it "points at wrong words" do
    expect do
      Transfer.train(backbone: "mobilenet_v2", data: [], task: :detection, head: :mlp)
    end.to raise_error(Transfer::Error)
    expect { Transfer.train(backbone: "vit_b_16", data: [{ input: "a.png", boxes: [] }], task: :detection) }
      .to raise_error(Transfer::RecipeError, /needs feature_maps. Try: mobilenet_v2/)
  end
end
