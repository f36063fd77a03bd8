# frozen_string_literal: true

RSpec.describe "Model#continue", :end_to_end do
  # Rows of two clusters each on a line; the label is the cluster.
  def rows(*labels, seed: 1)
    random = Random.new(seed)
    Array.new(60) do |i|
      label = labels[i % labels.size]
      { input: { x: (3 * label.ord) + random.rand, y: random.rand }, label: }
    end
  end

  let(:model) { Transfer.train(backbone: "sklearn:StandardScaler", data: rows("a", "b"), quiet: true) }

  it "adds a class, and keeps the others" do
    more = model.continue(rows("c", "b", seed: 2), quiet: true)
    expect(more.labels).to eq(%w[a b c])
    expect(more.metrics[:kept]).to include(metric: "accuracy", examples: model.metrics[:examples], before: 1.0)
    expect(more.metrics.dig(:kept, :after)).to be > 0.9
    row = ->(label) { { x: (3 * label.ord) + 0.5, y: 0.5 } }
    expect(more.predict(%w[a b c].map(&row)).map(&:label)).to eq(%w[a b c])
    expect(more.predict({ x: 1e6, y: 0 })).to be_unknown
    expect(more.predict(row["a"]).unknown?).to be(false)
  end

  it "continues from a file on the command line" do
    model.save("#{@scratch}/first.transfer")
    lines = rows("c", "b", seed: 2).map { |row| [*row[:input].values, row[:label]].join(",") }
    File.write("#{@scratch}/more.csv", ["x,y,label", *lines].join("\n"))
    out, err, status = transfer("train", "#{@scratch}/more.csv", "--from", "#{@scratch}/first.transfer", "--json",
                                "--quiet")
    expect([JSON.parse(out)["labels"], err, status]).to eq([%w[a b c], "", 0])
  end

  it "explains data and words that don't go with the model" do
    expect { model.continue(rows("a", "b"), quiet: true) }.to raise_error(Transfer::DataError, /nothing is new/)
    expect { model.continue(rows("c"), head: :mlp, quiet: true) }
      .to raise_error(Transfer::RecipeError, /head is that of the model in from/)
  end
end
