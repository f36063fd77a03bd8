# frozen_string_literal: true

# With the real core and MiniLM.
RSpec.describe "Texts on the command line", :folder do
  before(:context) do
    @trained = transfer("train", sentences, "--backbone", "hf/sentence-transformers/all-MiniLM-L6-v2", "--save", model)
  end

  def sentences = File.expand_path("../examples/sentences.csv", __dir__)
  def model = "#{@folder}/sentences.transfer"

  it "is reported with its baselines" do
    out, err, status = @trained
    expect([err, status]).to eq(["", 0])
    expect(out).to match(Regexp.new(<<~'TEXT'.gsub("PERCENT", '\d+\.\d %').gsub("SHARE", '\d\.\d\d\d').strip))
      \AAccuracy on 15 held-out texts: PERCENT \(95 % interval PERCENT to PERCENT\)
      Balanced accuracy: PERCENT, macro-F1: SHARE
      Baseline \(always "\w+"\): PERCENT
      Baseline \(TF-IDF and logistic regression\): PERCENT, macro-F1: SHARE
    TEXT
    expect(out).to match(/^Texts: train 51 \+ valid 9 \+ test 15 = 75; 60 fitted, .*; took/)
  end

  it "predicts texts" do
    out, err, status = transfer("predict", model, "What a lovely day, thank you!", "This is the worst phone ever.")
    expect([err, status]).to eq(["", 0])
    expect(out).to match(/\Apositive.*lovely.*\nnegative.*worst.*\n\z/)
  end

  it "prints the attention to each token, and writes the weights of all heads" do
    out, err, status = transfer("attention", model, "What a day!", "--output", "#{@folder}/attention.json")
    rows = out.lines(chomp: true).map { |line| line.split("\t", 2) }
    found = Transfer.load(model).attention("What a day!")
    expect([rows.map(&:last), err, status]).to eq([found.tokens.map(&:strip), "", 0])
    expect(rows.map(&:first)).to eq(found.rolled_out.to_a.first.map { |share| format("%.4f", share) })
    expect(JSON.parse(File.read("#{@folder}/attention.json"))["heads"].size).to eq(found.heads.shape.first)
  end
end
