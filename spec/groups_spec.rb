# frozen_string_literal: true

require "csv"
require "json"

# Metrics and weights by group, in Ruby and on the command line, with the real core.
RSpec.describe "Groups", :folder do
  before(:context) do
    random = Random.new(2)
    # The rare place turns the meaning of `a` around.
    @rows = Array.new(300) do |i|
      place = random.rand < 0.2 ? "cave" : "field"
      sign = (i.odd? ? 1 : -1) * (place == "cave" ? -1 : 1)
      { input: { a: sign + random.rand, b: random.rand }, label: i.odd? ? "x" : "y", place: }
    end
    @words = { backbone: "sklearn:StandardScaler", split: { test: 0.4 }, quiet: true }
    @model = Transfer.train(data: @rows, columns: { group: "place" }, **@words)
    @table = "#{@folder}/rows.csv"
    lines = @rows.map { |row| [*row[:input].values, row[:label], row[:place]] }
    File.write(@table, [%w[a b label place], *lines].map(&:to_csv).join)
  end

  it "are measured, and the worst is named" do
    groups = @model.metrics[:groups]
    expect(groups[:per_group].map { |one| one[:group] }).to eq(%w[cave field])
    expect(groups).to include(metric: "accuracy", worst: "cave", best: "field", missing: 0)
    expect(@model.warnings).to include(/\Athe model is significantly worse for "cave": accuracy /)
    expect(@model.inspect).to match(/worst group cave 0\.\d+>\z/)
    expect(Transfer.load(@model.path).metrics[:groups]).to eq(groups)
  end

  it "are weighted by a word of the recipe, also as records" do
    record = Struct.new(:input, :label, :place)
    records = @rows.map { |row| record.new(*row.values) }
    model = Transfer.train(data: records, **@words) do
      columns group: :place
      train group_weights: :robust
    end
    expect(model.recipe[:steps].last[:group_weights]).to eq("robust")
    worst = [model, @model].map { |one| one.metrics[:groups][:worst_cells].first[:value] }
    expect(worst.first).to be > worst.last
  end

  it "are options of the command line" do
    command = ["train", @table, "--backbone", "sklearn:StandardScaler", "--test-size", "0.4", "--group-column", "place"]
    out = transfer(*command, "--group-weights", "balanced", "--save", "#{@folder}/m.transfer").first
    expect(out).to match(/^Group cave: accuracy \d+\.\d % \(95 % interval \d+\.\d % to \d+\.\d %\) on \d+$/)
    expect(out).to match(/^Worst group \w+, best \w+: gap \d+\.\d % \(95 % interval .+\), p = [\d.e-]+$/)
    json = transfer("evaluate", "#{@folder}/m.transfer", @table, "--group-column", "place", "--json").first
    expect(JSON.parse(json)["groups"]["per_group"].size).to eq(2)
  end

  it "need a column" do
    expect { Transfer.train(data: @rows, group_weights: :balanced, **@words) }
      .to raise_error(Transfer::RecipeError, /group_weights: needs a column of groups\. Fix: columns group: "camera"/)
  end
end
