# frozen_string_literal: true

require "csv"

# A source and a target domain from Ruby: every kind of labels of the target, and wrong configurations.
RSpec.describe "Domains", :end_to_end do
  let(:random) { Random.new(7) }
  let(:source) { rows(90, 0) }
  let(:target) { rows(60, 2) }
  let(:test) { written("test.csv", rows(60, 2)) }

  # Three clusters of a table; those of another domain are moved.
  def rows(count, shift)
    Array.new(count) do |number|
      place = number % 3
      noise = Array.new(3) { |axis| (random.rand * 2) + (axis == place ? 4 : 0) + (axis.zero? ? shift : 0) }
      [*noise.map { |value| value.round(4) }, %w[a b c][place]]
    end
  end

  def written(name, rows, header: %w[x0 x1 x2 label])
    path = File.join(@scratch, name)
    CSV.open(path, "w") { |csv| [header, *rows].each { |row| csv << row.first(header.size) } }
    path
  end

  def bare(name = "bare.csv") = written(name, target, header: %w[x0 x1 x2])

  def train(data, **words)
    words = { source: written("source.csv", source), **words }.compact
    Transfer.train(backbone: "sklearn:StandardScaler", data: { train: data, test: }, device: :cpu, quiet: true, **words)
  end

  it "adapts to a target without labels, with few and with all, beside source-only and target-only" do
    few = written("few.csv", target.first(12) + target.drop(12).map { |row| [*row.first(3), nil] })
    models = [[bare, :coral], [few, :mcc], [written("all.csv", target), :dann]].map do |data, method|
      train(data, adapt: method).metrics
    end
    expect(models.map { |metrics| metrics.key?(:target_only) }).to eq([false, true, true])
    expect(models.map { |metrics| metrics[:accuracy] }).to all(be > 0.8)
    expect(models).to all(include(source_only: include(:accuracy)))
  end

  it "names the most and least useful source examples" do
    weights = train(bare, weigh: :discriminator).instance_weights
    expect(weights).to include(method: "discriminator", examples: 90, effective: be_between(1, 90))
    expect(weights[:most].first[:weight]).to be > weights[:least].first[:weight]
    expect(train(bare).instance_weights).to be_nil
  end

  it "explains wrong configurations in a sentence" do
    expect { train(bare, source: nil, adapt: :coral) }.to raise_error(Transfer::Error, /needs a labelled source domain/)
    others = written("others.csv", source.map { |row| [*row.first(3), "#{row.last}2"] })
    expect { train(written("all.csv", target), source: others) }
      .to raise_error(Transfer::DataError, /source and target share no class.*Fix: map_labels/)
    expect { train(bare, source: written("empty.csv", [])) }.to raise_error(Transfer::DataError, /has no rows/)
    expect { train(written("no.csv", [], header: %w[x0 x1 x2])) }.to raise_error(Transfer::DataError, /has no rows/)
    numbers = written("numbers.csv", source.map { |row| [*row.first(3), row[0] * 2] })
    words = { source: numbers, task: :regression, adapt: :mcc }
    expect do
      Transfer.train(backbone: "sklearn:StandardScaler", data: bare, device: :cpu, quiet: true, **words)
    end.to raise_error(Transfer::RecipeError, /mcc is for classification, and the task is regression. Try: coral/)
  end
end
