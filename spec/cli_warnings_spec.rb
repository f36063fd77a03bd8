# frozen_string_literal: true

require "csv"
require "json"

# On the command line and in Ruby, with the real core.
RSpec.describe "Warnings of a training", :folder do
  def table(name, header, rows)
    "#{@folder}/#{name}.csv".tap { |file| File.write(file, [header, *rows].map(&:to_csv).join) }
  end

  describe "a rare class that is never recognised" do
    before(:context) do
      random = Random.new(1)
      labels = (["rare"] * 4) + (["common"] * 146)
      @rare = table("rare", %w[a b label], labels.map { |label| [random.rand, random.rand, label] })
      @words = { backbone: "sklearn:StandardScaler", head: :logistic }
      @model = "#{@folder}/rare.transfer"
      @command = ["train", @rare, "--backbone", "sklearn:StandardScaler", "--head", "logistic"]
      @trained = transfer(*@command, "--save", @model)
    end

    it "is in the report, in the file and in JSON" do
      out, _, status = @trained
      expect(status).to eq(0)
      expect(out).to match(/^Balanced accuracy: 50.0 %, macro-F1: 0.4\d\d$/)
      expect(out).to match(/^Warning: the classes are unbalanced: \d+ training rows of "common", [1-3] of "rare"\. /)
      expect(out).to match(/^Warning: no better than always predicting "common": accuracy 0\.9\d+ /)
      expect(out).to match(/^Warning: no measured example of "rare" is recognised \(recall 0\)$/)
      expect(transfer("info", @model).first).to include(*out.lines.grep(/^Warning/))
      json = transfer(*@command, "--json").first
      expect(JSON.parse(json)["warnings"].map { |line| "Warning: #{line}\n" }).to eq(out.lines.grep(/^Warning/))
    end

    it "does not predict a row with a list in a cell" do
      rows = ['{"a": [1], "b": 2}', '{"a": 1, "b": 2}', '{"a": 1']
      out, err, status = transfer("predict", @model, "--json", "-", input: rows.join("\n"))
      expect([err, status]).to eq(["", 5])
      expect(out.lines.map { |line| JSON.parse(line) }).to match(
        [include("error" => include("code" => "data", "message" => /a cell is text/)), include("label" => "common"),
         include("error" => include("code" => "data", "message" => /\Aline 3 of standard input: a row is a JSON/))]
      )
      expect(transfer("predict", @model, "--on-bad-input", "raise", rows[0])).to match(["", /a cell is text/, 3])
    end

    it "is a fact of the model and of the job" do
      job = Transfer.train_async(data: @rare, quiet: true, **@words)
      expect(job.value.warnings).to include(/\Ano better than always predicting "common"/).and eq(job.warnings)
      expect(job.value.inspect).to match(/accuracy 0\.9\d+, balanced_accuracy 0\.5>\z/)
      expect(Transfer.load(@model).warnings).to eq(job.warnings)
    end
  end

  # Rows that give the patient away, whose label is random.
  describe "groups" do
    before(:context) do
      random = Random.new(3)
      people = Array.new(30) { |i| [i, %w[x y].sample(random:), random.rand, random.rand] }
      @patients = people.flat_map do |i, label, a, b|
        Array.new(4) { { input: { a: a + random.rand(0.001), b: b + random.rand(0.001) }, label:, patient: i } }
      end
      @rows = @patients.map { |row| row.except(:patient) }
      @words = { backbone: "sklearn:StandardScaler", head: :random_forest, quiet: true }
    end

    def sizes(model) = model.summary[:sizes].values.map { |size| size % 4 }.uniq

    it "stay on one side by a name, a block or a callable" do
      by_name = Transfer.train(data: @patients, split: { group: "patient" }, **@words)
      by_block = Transfer.train(data: @patients.lazy, **@words) do
        split(test: 0.2) { |row| row[:patient] }
      end
      by_callable = Transfer.train(data: @patients, split: { group: ->(row) { row[:patient] } }, **@words)
      expect([by_name, by_block, by_callable].map { |model| sizes(model) }).to eq([[0]] * 3)
      expect(by_block.metrics).to eq(by_name.metrics).and eq(by_callable.metrics)
      expect(by_name.recipe[:split]).to include(group: "patient", test: 0.2)
      expect(by_block.recipe[:split]).to include(group: "group")
      expect(by_name.metrics[:accuracy]).to be < Transfer.train(data: @rows, **@words).metrics[:accuracy]
    end

    it "are a column on the command line" do
      rows = @patients.map { |row| [*row[:input].values, row[:label], row[:patient]] }
      file = table("patients", %w[a b label patient], rows)
      out = transfer("train", file, "--backbone", "sklearn:StandardScaler", "--split-group", "patient", "--json").first
      expect(JSON.parse(out)["sizes"].values.map { |size| size % 4 }.uniq).to eq([0])
    end

    it "are reported where the block has no rows, or rows no group" do
      line = __LINE__ + 1
      expect { Transfer.train(data: "p.csv", **@words) { split { |row| row[:patient] } } }.to raise_error(
        Transfer::RecipeError,
        /cli_warnings_spec.rb:#{line}: a block groups rows, but data is a path. Fix: name a column, split group: "…"\z/
      )
      expect { Transfer.train(data: @rows, split: { group: :patient }, **@words) }
        .to raise_error(Transfer::DataError, 'no row has a value of "patient", as split group: needs')
      expect { Transfer.train(data: @rows, split: { group: ->(_) { Object.new } }, **@words) }
        .to raise_error(Transfer::DataError, /\Arow 1: a group is text, a number or nil; /)
    end
  end

  it "asks about whole numbers, until the task is said" do
    file = table("ages", %w[a age], Array.new(200) { |i| [i, 20 + (i % 20)] })
    common = ["train", file, "--backbone", "sklearn:StandardScaler", "--target-column", "age"]
    expect(transfer(*common).first).to match(/^Warning: the labels are 20 different whole numbers from 20 to 39, /)
    out = transfer(*common, "--task", "regression").first
    expect(out).to start_with("Mean absolute error")
    expect(out).not_to include("whole numbers")
  end
end
