# frozen_string_literal: true

RSpec.describe "Transfer.rank", :end_to_end do
  let(:rows) { "#{@scratch}/rows.csv" }
  let(:among) { %w[sklearn:StandardScaler sklearn:QuantileTransformer] }

  before do
    random = Random.new(1)
    lines = Array.new(60) { |i| [(i % 2) + (random.rand / 2), random.rand, i.even? ? "low" : "high"].join(",") }
    File.write(rows, ["x,y,label", *lines].join("\n"))
  end

  it "ranks the named backbones on a table, from Ruby and from the shell" do
    ranking = Transfer.rank(data: rows, among:, quiet: true)
    expect(ranking).to have_attributes(task: :classification, metric: :accuracy, sampled: 48, examples: 48,
                                       left_out: {})
    expect(ranking.map(&:backbone)).to match_array(among)
    expect(ranking.map(&:log_loss)).to eq(ranking.map(&:log_loss).sort)
    expect(ranking.best.interval).to cover(ranking.best.expected)
    expect(ranking.best.expected).to be > 0.9
    out, err, status = transfer("rank", rows, "--among", among.join(","), "--json", "--quiet")
    expect([JSON.parse(out)["backbones"].map { |entry| entry["backbone"] }, err, status])
      .to eq([ranking.map(&:backbone), "", 0])
    expect(transfer("rank", rows, "--quiet").first).to match(/^backbone +accuracy.*sklearn:.*of 48 training/m)
  end

  it "recognizes rows of a table and texts without a modality" do
    table = Array.new(60) { |i| { input: { x: i % 2, y: i }, label: i.even? ? "low" : "high" } }
    expect(Transfer.rank(data: table, quiet: true)).to have_attributes(modality: :table, sampled: 48)
    texts = Array.new(60) { |i| { input: "it is #{i.even? ? 'good' : 'bad'} #{i}", label: i.even? ? "up" : "down" } }
    ranking = Transfer.rank(data: texts, task: :classification, budget: 0.001, quiet: true)
    expect(ranking).to have_attributes(modality: :text, sampled: 48)
  end

  it "explains wrong words and unknown backbones" do
    expect { Transfer.rank(data: rows, among: %w[mobilnet_v2]) }
      .to raise_error(Transfer::RecipeError, /unknown backbone "mobilnet_v2", did you mean "mobilenet_v2"/)
    expect { Transfer.rank(data: rows, among: %w[mobilenet_v2 sklearn:StandardScaler]) }
      .to raise_error(Transfer::RecipeError, /expected backbones for one kind of input/)
    expect { Transfer.rank(data: rows, budget: 0) }.to raise_error(Transfer::RecipeError, /budget/)
  end
end
