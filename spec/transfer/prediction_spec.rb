# frozen_string_literal: true

RSpec.describe Transfer::Prediction do
  def parse(**plain) = described_class.parse(plain.transform_keys(&:to_s))

  let(:scores) { { "cat" => 0.9, "dog" => 0.6, "owl" => 0.3 } }
  let(:cat) { parse(label: "cat", score: 0.9, scores:) }

  it "is a class with scores" do
    expect([cat.label, cat.score, cat.top(1)]).to eq(["cat", 0.9, { "cat" => 0.9 }])
    expect([cat.to_s, cat.inspect, cat.set]).to eq(["cat", "#<Transfer::Prediction cat 0.900>", nil])
    expect(cat.to_h).to eq({ label: "cat", score: 0.9, scores: })
    expect(parse(label: "cat", score: 0.9, scores:, set: %w[cat]).to_h[:set]).to eq(%w[cat])
  end

  it "is any number of labels" do
    two = parse(labels: %w[cat owl], scores:)
    expect([two.labels, two.top(2)]).to eq([%w[cat owl], { "cat" => 0.9, "dog" => 0.6 }])
    expect([two.to_s, two.inspect]).to eq(["cat, owl", "#<Transfer::Prediction cat 0.900, owl 0.300>"])
    expect(two.to_h).to eq({ labels: %w[cat owl], scores: })
    none = parse(labels: [], scores:)
    expect([none.to_s, none.inspect]).to eq(["", "#<Transfer::Prediction no label>"])
  end

  it "is a number, or several by name" do
    one = parse(value: 2.5, interval: [2.0, 3.0])
    expect([one.value, one.to_s, one.inspect]).to eq([2.5, "2.5", "#<Transfer::Prediction 2.5>"])
    expect(one.to_h).to eq({ value: 2.5, interval: [2.0, 3.0] })
    many = parse(values: { "x" => 1.0 }, intervals: { "x" => [0.5, 1.5] })
    expect([many.value, many.to_h]).to eq([nil, { values: { "x" => 1.0 }, intervals: { "x" => [0.5, 1.5] } }])
  end

  it "is unknown if the input is unlike the training examples" do
    far = parse(label: "cat", score: 0.9, scores:, novelty: 0.99, unknown: true)
    near = parse(label: "cat", score: 0.9, scores:, novelty: 0.5, unknown: false)
    expect([far.unknown?, far.novelty, near.unknown?, cat.unknown?, cat.novelty]).to eq([true, 0.99, false, false, nil])
    expect(far.to_h).to eq({ label: "cat", score: 0.9, scores:, novelty: 0.99, unknown: true })
    expect(parse(value: 2.5, novelty: 1.0, unknown: true).unknown?).to be(true)
    expect(parse(labels: [], scores:, novelty: 1.0, unknown: true).unknown?).to be(true)
    expect(parse(boxes: [], width: 1, height: 1).unknown?).to be(false)
  end

  it "is a text with its candidates" do
    text = parse(text: "Bo día!", score: 0.5, candidates: [{ "text" => "Bo día!", "score" => 0.5 },
                                                           { "text" => "Ola!", "score" => 0.25 }])
    expect([text.text, text.to_s, text.score, text.inspect])
      .to eq(["Bo día!", "Bo día!", 0.5, "#<Transfer::Prediction Bo día! 0.500>"])
    expect(text.candidates.map(&:to_s)).to eq(["Bo día!", "Ola!"])
    expect(text.to_h[:candidates].last).to eq({ text: "Ola!", score: 0.25 })
    expect([text.frozen?, Ractor.shareable?(text)]).to eq([true, true])
    case parse(text: "Ola!", score: 0.25)
    in { text: String => found, candidates: [{ score: }] } then expect([found, score]).to eq(["Ola!", 0.25])
    end
  end

  describe "of boxes" do
    let(:stop) { { "label" => "stop", "score" => 0.9, "x" => 1.5, "y" => 2, "width" => 30, "height" => 40 } }
    let(:two) { parse(boxes: [stop, { **stop, "label" => "turn", "score" => 0.5 }], width: 100, height: 80) }

    it "has boxes, labels and a count" do
      box = two.boxes.first
      expect([box.label, box.score, box.x, box.y, box.width, box.height, box.outer])
        .to eq(["stop", 0.9, 1.5, 2, 30, 40, nil])
      expect([two.labels, two.count, two["turn"].map(&:score), two[:owl]]).to eq([%w[stop turn], 2, [0.5], []])
      expect([two.width, two.height]).to eq([100, 80])
      expect([two.to_s, two.inspect]).to eq(["stop 0.900, turn 0.500",
                                             "#<Transfer::Prediction stop 0.900, turn 0.500>"])
      expect(parse(boxes: [], width: 1, height: 1).inspect).to eq("#<Transfer::Prediction no object>")
    end

    it "has outer boxes with a level" do
      outer = { "x" => 0, "y" => 0, "width" => 90, "height" => 80 }
      found = parse(boxes: [{ **stop, "outer" => outer, "age" => 3 }], width: 100, height: 80)
      expect(found.boxes.first.outer).to eq({ x: 0, y: 0, width: 90, height: 80 })
      expect(found.to_h[:boxes].first.keys).to eq(%i[label score x y width height outer])
    end

    it "is matched, compared and frozen" do
      matched = case two
                in { boxes: [{ label: "stop", x: }, *] } then x
                end
      expect(matched).to eq(1.5)
      expect(Ractor.shareable?(two)).to be(true)
      expect(two).to eq(described_class::Detection.new(boxes: two.boxes, width: 100, height: 80, image: "a.jpg"))
    end

    it "is JSON" do
      found = parse(boxes: [stop], width: 100, height: 80)
      box = '{"label":"stop","score":0.9,"x":1.5,"y":2,"width":30,"height":40}'
      expect(found.to_json).to eq(%({"boxes":[#{box}],"width":100,"height":80}))
      expect(found.boxes.to_json).to eq("[#{box}]")
    end

    it "is drawn on a photo that is known" do
      expect { two.draw("out.png") }.to raise_error(ArgumentError, /is not known. Fix: draw\(file, image: …\)/)
    end
  end

  it "has the readers of its task alone" do
    readers = [cat, parse(labels: [], scores:), parse(value: 1.0)].map do |prediction|
      %i[label labels scores top value values set interval].select { |name| prediction.respond_to?(name) }
    end
    expect(readers).to eq([%i[label scores top set], %i[labels scores top], %i[value values interval]])
  end

  it "is matched by its fields" do
    matched = case cat
              in { set: } then set
              in { label:, score: 0.5.. } then label
              end
    expect(matched).to eq("cat")
  end

  it "is frozen through and through, and compared by value" do
    expect(Ractor.shareable?(cat)).to be(true)
    expect(cat).to eq(described_class::Classification.new(label: "cat", score: 0.9, scores:))
    expect(cat).not_to eq(cat.with(set: %w[cat]))
    expect(cat).not_to eq(parse(labels: %w[cat], scores:))
  end

  it "is the same JSON in plain Ruby and in Rails" do
    expect(cat.to_json).to eq('{"label":"cat","score":0.9,"scores":{"cat":0.9,"dog":0.6,"owl":0.3}}')
    expect(cat.as_json(only: [])).to eq({ "label" => "cat", "score" => 0.9, "scores" => scores })
  end

  it "ignores fields of a newer core" do
    expect(parse(value: 1.0, unit: "m").to_h).to eq({ value: 1.0 })
  end
end
