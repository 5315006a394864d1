/*
 * Dates of the Gregorian calendar, proleptic, in UTC.
 *
 * Days are counted in years that begin in March, so that the leap day is the last day of its year, and in eras of 400
 * years, which all have the same number of days.
 */
#include "tools.h"

#include <limits.h>

#define SECONDS_PER_DAY 86400
#define DAYS_PER_ERA 146097   /* 400 * 365 + 97 */
#define DAYS_TO_EPOCH 719468L /* from March 1 of year 0 to January 1 of 1970 */

/* Wide enough for sums of any values of the fields. */
typedef __int128 wide_t;

static wide_t floor_div(wide_t number, long divisor)
{
    wide_t quotient = number / divisor;
    return number % divisor < 0 ? quotient - 1 : quotient;
}

/* Days from 1970-01-01 to the first day of a month; months count from 0 and may be any number. */
static wide_t days_to_month(long year, wide_t month)
{
    wide_t march_months = (wide_t)year * 12 + month - 2;
    wide_t march_year = floor_div(march_months, 12);
    long march_month = (long)(march_months - march_year * 12);
    wide_t era = floor_div(march_year, 400);
    long year_of_era = (long)(march_year - era * 400);

    /* Months from March on have 31, 30, 31, 30, 31 days, over and over: 153 days in five months. */
    long days = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * march_month + 2) / 5;
    return era * DAYS_PER_ERA + days - DAYS_TO_EPOCH;
}

void mln_time2utc(time_t tm, struct utctime *uc)
{
    long days = (long)floor_div(tm, SECONDS_PER_DAY);
    long second = (long)(tm - (wide_t)days * SECONDS_PER_DAY);
    long week = (days + 4) % 7; /* the first day was a Thursday */

    long shifted = days + DAYS_TO_EPOCH;
    long era = (long)floor_div(shifted, DAYS_PER_ERA);
    long day_of_era = shifted - era * DAYS_PER_ERA;
    /* Take out the leap days that lie before this day: one every 4 years, none every 100, the last of the era. */
    long year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    long day_of_year = day_of_era - (year_of_era * 365 + year_of_era / 4 - year_of_era / 100);
    long march_month = (5 * day_of_year + 2) / 153;

    uc->month = march_month < 10 ? march_month + 3 : march_month - 9;
    uc->year = era * 400 + year_of_era + (uc->month <= 2);
    uc->day = day_of_year - (153 * march_month + 2) / 5 + 1;
    uc->hour = second / 3600;
    uc->minute = second / 60 % 60;
    uc->second = second % 60;
    uc->week = week < 0 ? week + 7 : week;
}

time_t mln_utc2time(struct utctime *uc)
{
    wide_t days = days_to_month(uc->year, (wide_t)uc->month - 1) + uc->day - 1;
    wide_t seconds = days * SECONDS_PER_DAY + (wide_t)uc->hour * 3600 + (wide_t)uc->minute * 60 + uc->second;

    if (seconds > LONG_MAX)
        return LONG_MAX;
    if (seconds < LONG_MIN)
        return LONG_MIN;
    return (time_t)seconds;
}

void mln_utc_adjust(struct utctime *uc)
{
    mln_time2utc(mln_utc2time(uc), uc);
}

long mln_month_days(long year, long month)
{
    static const char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    if (month < 1 || month > 12)
        return -1;
    if (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))
        return 29;
    return days[month - 1];
}

/* The number that `count` digits make, or -1. */
static long digits(const unsigned char *text, int count)
{
    long number = 0;
    for (int i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        number = number * 10 + (text[i] - '0');
    }
    return number;
}

int mln_s2time(time_t *tm, mln_string_t *s, int type)
{
    struct utctime date = {0};
    int year_digits;

    if (tm == NULL || s == NULL || s->data == NULL)
        return -1;
    if (type == M_TOOLS_TIME_UTC)
        year_digits = 2;
    else if (type == M_TOOLS_TIME_GENERALIZEDTIME)
        year_digits = 4;
    else
        return -1;
    if (s->len != (mln_u64_t)year_digits + 11 || s->data[s->len - 1] != 'Z')
        return -1;

    const unsigned char *rest = s->data + year_digits;
    date.year = digits(s->data, year_digits);
    date.month = digits(rest, 2);
    date.day = digits(rest + 2, 2);
    date.hour = digits(rest + 4, 2);
    date.minute = digits(rest + 6, 2);
    date.second = digits(rest + 8, 2);

    if (date.year < 0 || date.day < 1 || date.hour < 0 || date.minute < 0 || date.second < 0)
        return -1;
    if (type == M_TOOLS_TIME_UTC)
        date.year += date.year >= 50 ? 1900 : 2000;
    /* For a month that does not exist the number of days is -1. */
    if (date.day > mln_month_days(date.year, date.month) || date.hour > 23 || date.minute > 59 || date.second > 59)
        return -1;
    *tm = mln_utc2time(&date);
    return 0;
}
