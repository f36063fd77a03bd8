# frozen_string_literal: true

require "csv"
require "json"
require "tmpdir"
require "transfer/cli"

# Warnings about flattering results on the command line and in Ruby, with the real core.
RSpec.describe Transfer::CLI do
  before(:context) { @folder = Dir.mktmpdir }
  after(:context) { FileUtils.rm_rf(@folder) }

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
      expect(out).to match(/^Warning: no better than always answering "common": accuracy 0\.9\d+ /)
      expect(out).to match(/^Warning: no measured example of "rare" is recognised \(recall 0\)$/)
      expect(transfer("info", @model).first).to include(*out.lines.grep(/^Warning/))
      json = transfer(*@command, "--json").first
      expect(JSON.parse(json)["warnings"].map { |line| "Warning: #{line}\n" }).to eq(out.lines.grep(/^Warning/))
    end

    it "is a fact of the model and of the job" do
      job = Transfer.start(data: @rare, quiet: true, **@words)
      expect(job.value.warnings).to include(/\Ano better than always answering "common"/).and eq(job.warnings)
      expect(job.value.inspect).to match(/accuracy 0\.9\d+, balanced_accuracy 0\.5>\z/)
      expect(Transfer.load(@model).warnings).to eq(job.warnings)
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
