# frozen_string_literal: true

# Exported models in Ruby, compared with the models in the worker.
RSpec.describe "An exported model in Ruby", :end_to_end do
  before(:context) { @folder = Exported.write("odd_images", Dir.mktmpdir("odd", @scratch)) }

  # The numbers of a prediction, and everything else.
  def parts(value)
    case value
    when Hash then parts(value.sort_by { |key, _| key.to_s })
    when Array then value.map { |inner| parts(inner) }.then { |all| [all.flat_map(&:first), all.map(&:last)] }
    when Float then [[value], :number]
    else [[], value]
    end
  end

  # @return [Transfer::Onnx::Model] after its predictions were compared
  def compare(model, inputs)
    model.export("#{@scratch}/exported.onnx")
    exported = Transfer.load("#{@scratch}/exported.onnx")
    expect([exported.labels, exported.metrics, exported.task]).to eq([model.labels, model.metrics, model.task])
    wanted, found = [model, exported].map { |each| each.predict(inputs, level: 0.5, on_bad_input: :mark) }
    expect(found.map(&:ok?)).to eq(wanted.map(&:ok?))
    wanted.zip(found) { |one, other| expect_equal(one.to_h, other.to_h) if one.ok? }
    exported
  end

  def expect_equal(wanted, found)
    # Novelty is a rank among distances: a rounding error passes over all that are equal (tests/test_novelty.py).
    both = [wanted, found].map { |prediction| parts(prediction.except(:novelty, :unknown)) }
    (numbers, rest), (own_numbers, own_rest) = both
    expect(own_rest).to eq(rest)
    expect(own_numbers).to match(numbers.map { |number| be_within([1, number.abs].max * 1e-4).of(number) })
  end

  it "predicts images of odd kinds as the worker does" do
    photos = photo_folder(File.join(@scratch, "photos"), count: 12)
    model = Transfer.train(backbone: "mobilenet_v2", data: photos, precision: :float32)
    # Pictures of a few pixels become large areas that differ by a level of rounding.
    odd = Dir["#{@folder}/*.{jpg,png,webp,gif,bmp}"].grep_v(%r{/\d_\d+_})
    exported = compare(model, odd + Dir["#{photos}/*/*.png"])
    photo = "#{photos}/red/0.png"
    expect(exported.embed(photo)).to match(model.embed(photo).map { |value| be_within(1e-3).of(value) })
  end

  it "predicts texts and pairs of random Unicode as the worker does" do
    cases = JSON.parse(File.read("#{Exported.write('odd_texts', Dir.mktmpdir('texts', @scratch), 1, 20)}/cases.json"))
    texts = cases.each_value.flat_map { |some| some.map { |_, text, _| text } }.grep(String).uniq.first(150)
    rows = texts.each_with_index.map { |text, i| { input: text, label: i.even? ? "a" : "b" } }
    compare(Transfer.train(backbone: "hf/sentence-transformers/all-MiniLM-L6-v2", data: rows, precision: :float32),
            texts + ["", " "])
  end

  it "predicts terms and rows as the worker does" do
    words = %w[lovely great wonderful superb awful terrible horrible dreadful Σίσυφος ÉTÉ 東京]
    texts = words.combination(3).first(80).map { |some| { input: some.join(" "), label: some.first < "h" ? "a" : "b" } }
    compare(Transfer.train(backbone: "sklearn:TfidfVectorizer", data: texts), texts.map { |row| row[:input] })
    cities = ["Ulm", "Bonn", " Köln ", nil, 7]
    rows = Array.new(80) do |i|
      { input: { rooms: i % 7, area: (i % 5 == 4 ? nil : i * 1.5), city: cities[i % 5] }, label: (i * 2.5) + (i % 7) }
    end
    odd = [{ rooms: "3", area: " n/a", city: "ULM" }, { rooms: 1e3, area: true, city: 7.0 }, { rooms: 1 },
           { rooms: "x", area: 1, city: "" }]
    compare(Transfer.train(backbone: "sklearn:ColumnTransformer", data: rows),
            rows.map { |row| row[:input] } + odd)
  end
end
